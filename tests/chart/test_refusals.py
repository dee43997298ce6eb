"""Values that cannot work are refused, each with its sentence."""

import json
import re

import pytest
import yaml
from chart import CHART, LEAST, REDIS, Refused, Release, at, over

HPA = at("autoscaling.enabled", True)
CONSOLE = at("consoleIngress", {"enabled": True, "host": "pool.example.com"})

IMPOSSIBLE = {
    "no encryption keys": ({}, "kubectl create secret generic antigravity-proxy-encryption --namespace ns "
                               "--from-literal=encryption-keys=\"$(openssl rand -base64 32)\""),
    "replicas without Redis": (over(LEAST, {"replicaCount": 2}), "2 replicas need state that they can share: set redis.url"),
    "autoscaling without Redis": (over(LEAST, HPA), "autoscaling.enabled needs state that replicas can share"),
    "autoscaling and a fixed number": (over(REDIS, HPA, {"replicaCount": 3}), "leave replicaCount empty"),
    "fewest above most": (over(REDIS, HPA, at("autoscaling.minReplicas", 9)), "minReplicas is greater than"),
    "nothing to scale on": (
        over(REDIS, HPA, at("autoscaling.cpu.enabled", False)),
        "switch autoscaling.streams or autoscaling.cpu on",
    ),
    "CPU without a request": (
        over(REDIS, HPA, {"resources": {"requests": {"cpu": None}}}), "set that, or switch autoscaling.cpu off"
    ),
    "two stores": (over(REDIS, at("valkey.enabled", True)), "choose one of them"),
    "a password in the address": (
        over(LEAST, at("redis.url", "redis://user:secret@redis:6379")), "redis.url must not contain a password"
    ),
    "a Sentinel's password in the address": (
        over(LEAST, at("redis.url", "redis+sentinel://a/primary?sentinel_user=b&sentinel_pass=c")),
        "redis.url must not contain sentinel_pass",
    ),
    "a password of nobody": (over(LEAST, at("redis.url", "redis://:secret@redis:6379")), "must not contain a password"),
    "both bounds of a budget": (
        over(REDIS, at("podDisruptionBudget", {"minAvailable": 1, "maxUnavailable": 1})), "one of minAvailable and"
    ),
    "a claim beside Redis": (over(REDIS, at("persistence.existingClaim", "mine")), "the state is in Redis"),
    "two bundles": (
        over(REDIS, at("trustedCa", {"existingSecret": "a", "existingConfigMap": "b"})), "trustedCa takes one of"
    ),
    "an ingress without a host": (over(REDIS, at("ingress.enabled", True)), "needs ingress.host"),
    "a console without a host": (over(REDIS, at("consoleIngress.enabled", True)), "needs consoleIngress.host"),
    "a console without a password": (
        over(REDIS, CONSOLE, at("console.generatePassword", False)), "needs a console password"
    ),
    "a console on the API's host": (
        over(REDIS, CONSOLE, at("ingress", {"enabled": True, "host": "pool.example.com"})), "another name than ingress.host"
    ),
    "a console on the route's host": (
        over(REDIS, CONSOLE, at("httpRoute", {"enabled": True, "parentRefs": [{"name": "g"}],
                                              "hostnames": ["pool.example.com"]})),
        "another name than those of httpRoute.hostnames",
    ),
    "a route of no gateway": (over(REDIS, at("httpRoute", {"enabled": True, "hostnames": ["a.b"]})), "needs httpRoute.parentRefs"),
    "a route of no host": (
        over(REDIS, at("httpRoute", {"enabled": True, "parentRefs": [{"name": "g"}]})), "needs httpRoute.hostnames"
    ),
    "a monitor of no service": (
        over(REDIS, at("metrics", {"enabled": False, "serviceMonitor": {"enabled": True}})), "set metrics.enabled=true"
    ),
    "rules of metrics that nobody has": (
        over(REDIS, at("metrics.prometheusRule.enabled", True)), "else AntigravityProxyNoMetrics would always fire"
    ),
    "a scrape longer than its interval": (
        over(REDIS, at("metrics.serviceMonitor", {"enabled": True, "interval": "5s"})),
        "scrapeTimeout (10s) is longer than its interval (5s)",
    ),
    "an address that probes do not reach": (over(REDIS, {"host": "127.0.0.1"}), "would not reach 127.0.0.1"),
    "a start that is ended before its time": (
        over(REDIS, at("settings.storeOutageGraceMs", 300000)), "settings.storeOutageGraceMs must be 110000 or less"
    ),
    "a Service that begins with a digit": (
        over(REDIS, {"nameOverride": "proxy"}), "7gw-proxy, the name of the release's objects, begins with a digit"
    ),
    "headers for no collector": (over(REDIS, at("tracing.existingSecret", "c")), "the collector at tracing.endpoint: set that"),
    "one port for two": (over(REDIS, at("metrics.port", 8080)), "metrics.port must not be 8080"),
    "a label of the chart's": (over(REDIS, at("commonLabels", {"app.kubernetes.io/name": "x"})), "commonLabels must not"),
    "a pod label of the chart's": (over(REDIS, at("podLabels", {"helm.sh/chart": "x"})), "podLabels must not"),
}  # fmt: skip


@pytest.mark.parametrize(("values", "sentence"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_combinations(values, sentence):
    with pytest.raises(Refused) as refused:
        # Only there does it matter how the release is called.
        Release(values, name="7gw" if "digit" in sentence else "gw")
    assert sentence in str(refused.value)


def test_every_refusal_is_tested():
    written = (CHART / "templates/validate.yaml").read_text().count("fail ")
    # Those in loops are tested by the two tests below.
    assert written == len(IMPOSSIBLE) - 2 + 3


@pytest.mark.parametrize(
    "key",
    [
        "host", "port", "metricsAddr", "dataDir", "pool", "publicBaseUrl", "drainDelayMs", "shutdownGraceMs",
        "logLevel", "logFormat", "apiKey", "webuiPassword", "encryptionKeys", "redis.url", "redisAddr", "redisPassword",
        "redisDB", "oauth.clientId", "oauth.clientSecret",
    ],
)  # fmt: skip
def test_settings_that_are_the_charts(key):
    with pytest.raises(Refused, match=rf"settings\.{re.escape(key)} (has a value of its own|belongs to the chart)"):
        Release(over(REDIS, {"settings": at(key, "x")}))


@pytest.mark.parametrize("name", ["API_KEY", "API_KEY_FILE", "CONFIG_FILE", "HOST", "SSL_CERT_FILE", "REDIS_URL_FILE"])
def test_variables_that_are_the_charts(name):
    with pytest.raises(Refused, match=f"extraEnv must not set {name}"):
        Release(over(REDIS, {"extraEnv": [{"name": name, "value": "x"}]}))


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS_FILE", "OTEL_TRACES_SAMPLER"])
def test_variables_that_are_the_charts_with_tracing(name):
    extra = {"extraEnv": [{"name": name, "value": "x"}]}
    Release(over(REDIS, extra))
    with pytest.raises(Refused, match=f"extraEnv must not set {name}"):
        Release(over(REDIS, extra, at("tracing.endpoint", "http://collector:4318")))


def test_neighbours_of_what_is_refused_are_taken():
    Release(over(REDIS, {"settings": {"redis": {"connectTimeoutMs": 2000}, "oauth": {"tokenUrl": "https://a.b"}}}))
    Release(over(REDIS, at("redis.url", "redis://user@redis:6379")))
    streams = at("autoscaling", {"cpu": {"enabled": False}, "streams": {"enabled": True}})
    Release(over(REDIS, HPA, {"resources": {"requests": {"cpu": None}}}, streams))
    Release(over(REDIS, at("settings.storeOutageGraceMs", 110000)))
    for interval, timeout in [("10s", "10s"), ("1m", "59s"), ("1m30s", "1m"), ("1s", "900ms"), ("1h", "30m")]:
        Release(over(REDIS, at("metrics.serviceMonitor", {"enabled": True, "interval": interval, "scrapeTimeout": timeout})))
    # Who scrapes otherwise says how.
    selected = at("metrics.prometheusRule", {"enabled": True, "selector": 'job="x"'})
    Release(over(REDIS, selected, at("metrics.enabled", False)))
    Release(over(REDIS, {"fullnameOverride": "gateway"}), name="7gw")
    Release(over(REDIS, CONSOLE, at("console", {"existingSecret": "c", "generatePassword": False})))


def leaves(values, path=()):
    for key, value in values.items():
        yield (*path, key), value
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))


def schema_of(schema, path):
    for key in path:
        schema = schema["properties"][key] if key in schema.get("properties", {}) else schema["additionalProperties"]
    return schema


VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
# Objects whose fields are Kubernetes' or the gateway's.
FREE = {"behavior", "settings", "podSecurityContext", "securityContext", "affinity", "requests", "limits"}


def test_the_schema_knows_every_value():
    sections = [path for path, value in leaves(VALUES) if isinstance(value, dict) and value]
    for path in sections:
        if FREE & set(path):
            continue
        schema = schema_of(SCHEMA, path)
        closed = schema.get("additionalProperties")
        assert closed is False or isinstance(closed, dict), path
        if closed is False:
            known = schema["properties"].keys()
            value = VALUES
            for key in path:
                value = value[key]
            assert set(known) == set(value), path
    assert SCHEMA["additionalProperties"] is False
    assert set(SCHEMA["properties"]) == {*VALUES, "global"}


@pytest.mark.parametrize("path", [(), *{path for path, value in leaves(VALUES) if isinstance(value, dict) and value
                                       and not FREE & set(path) and path[-1] != "labels"}],
                         ids=lambda path: ".".join(path) or "top")  # fmt: skip
def test_a_misspelt_value_is_refused(path):
    with pytest.raises(Refused, match="nosuchvalue"):
        Release(over(REDIS, at(".".join([*path, "nosuchvalue"]), True)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicaCount", "two"), ("replicaCount", -1), ("redis.url", "http://redis"), ("image.digest", "abc"),
        ("service.type", "Cluster"), ("service.port", 70000), ("preset", "Team"), ("host", "localhost"),
        ("shutdown.drainDelayMs", 300001), ("ingress.host", "https://a.b"), ("httpRoute.timeout", "1 hour"),
        ("log.format", "xml"), ("extraEnv", {"A": "b"}), ("publicBaseUrl", "a.b"), ("pool", "a:b"),
        ("encryption.existingSecret", "Not A Name"), ("topologySpread.whenUnsatisfiable", "Never"),
        ("networkPolicy.upstream.ports", []), ("networkPolicy.redis.ports", []), ("networkPolicy.collector.ports", []),
        ("networkPolicy.upstream.cidrs", []), ("networkPolicy.upstream.cidrs", ["10.0.0.0"]),
        ("networkPolicy.upstream.cidrs", ["10.0.0.256/8"]), ("networkPolicy.upstream.cidrs", ["10.0.0.0/33"]),
        ("networkPolicy.upstream.except", ["example.com/8"]), ("networkPolicy.upstream.except", ["fe80::/129"]),
        ("networkPolicy.from", [{}]), ("networkPolicy.metricsFrom", [{}]), ("networkPolicy.redis.to", [{}]),
        ("networkPolicy.collector.to", [{}]), ("networkPolicy.extraEgress", [{}]),
        ("networkPolicy.extraEgress", [{"ports": []}]), ("networkPolicy.extraEgress", [{"to": []}]),
        ("networkPolicy.extraEgress", [{"to": [{}]}]), ("httpRoute.hostnames", [""]),
        ("httpRoute.hostnames", ["claude.example.com", "*"]), ("ingress.host", "claude.*.com"),
        ("metrics.prometheusRule.runbookUrl", "docs/operations.md"),
        ("metrics.prometheusRule.runbookUrl", "https://wiki.example.com/ops#alerts"),
        ("podDisruptionBudget.minAvailable", "half"),
        ("metrics.prometheusRule.selector", 'pod="a"'), ("metrics.prometheusRule.slo.availability", 1),
        ("metrics.prometheusRule.slo.firstEvent", 0.9), ("metrics.prometheusRule.slo.firstEventSeconds", 7),
        ("metrics.prometheusRule.slo.minFailures", 0), ("metrics.prometheusRule.thresholds.storeSeconds", 0),
    ],
)  # fmt: skip
def test_values_of_the_wrong_kind_are_refused(path, value):
    with pytest.raises(Refused):
        Release(over(REDIS, at(path, value)))
