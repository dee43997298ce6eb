"""One assertion per switch: what each value changes, and that nothing is there without it."""

import ipaddress
import json
import random
import re
import shutil

import pytest
import yaml
from chart import CHART, LEAST, REDIS, ROOT, Refused, Release, at, environment, over, pods


def least(*more):
    return Release(over(LEAST, *more))


def shared(*more):
    return Release(over(REDIS, *more))


def test_the_least_is_one_pod_with_a_volume():
    release = least()
    deployment = release.one("Deployment")["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    claim = release.one("PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    volume = release.pod["volumes"][-1]
    assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": "gw-antigravity-proxy"}}
    assert "REDIS_URL" not in release.env
    kinds = {item["kind"] for item in release.objects}
    assert kinds == {
        "ConfigMap", "Deployment", "PersistentVolumeClaim", "Pod", "Secret", "Service", "ServiceAccount"
    }  # fmt: skip


def test_with_redis_pods_are_replaced_one_by_one():
    release = shared()
    deployment = release.one("Deployment")["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"] == {
        "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}
    }  # fmt: skip
    assert not release.all("PersistentVolumeClaim")
    assert release.pod["volumes"][-1] == {"name": "data", "emptyDir": {}}


def test_names():
    def names(*more):
        return {item["metadata"]["name"] for item in least(*more).all("Deployment")}

    assert names({"nameOverride": "proxy"}) == {"gw-proxy"}
    assert names({"fullnameOverride": "claude"}) == {"claude"}
    long = Release(over(REDIS, {"valkey": {"enabled": False}}), name="r" * 53)
    assert all(len(item["metadata"]["name"]) <= 63 for item in long.objects)
    assert Release(LEAST, name="antigravity-proxy").all("Deployment")[0]["metadata"]["name"] == "antigravity-proxy"


def test_common_labels_and_pool():
    release = least({"commonLabels": {"team": "platform"}, "pool": "second"})
    assert all(item["metadata"]["labels"]["team"] == "platform" for item in release.objects)
    assert release.env["POOL"] == "second"


def test_image():
    digest = "sha256:" + "a" * 64
    for image, expected in [
        ({}, "antigravity-proxy:0.1.0"),
        ({"repository": "r.example.com/p", "tag": "edge"}, "r.example.com/p:edge"),
        ({"repository": "r.example.com/p", "tag": "edge", "digest": digest}, f"r.example.com/p@{digest}"),
    ]:
        assert least({"image": image}).gateway["image"] == expected
    release = shared({"image": {"pullPolicy": "Always", "pullSecrets": ["one"]}, **at("accounts.existingSecret", "a")})
    assert release.gateway["imagePullPolicy"] == "Always"
    assert all(pod["imagePullSecrets"] == [{"name": "one"}] for _, pod, _ in pods(release.objects))


def test_the_chart_is_of_the_program():
    cargo = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (cargo, cargo)


def test_replicas():
    assert shared({"replicaCount": 5}).one("Deployment")["spec"]["replicas"] == 5
    assert shared({"replicaCount": 0}).one("Deployment")["spec"]["replicas"] == 0


def test_autoscaling():
    streams_too = at("autoscaling.streams.enabled", True)
    release = shared(at("autoscaling", {"enabled": True, "minReplicas": 3, "maxReplicas": 9}), streams_too)
    assert "replicas" not in release.one("Deployment")["spec"]
    scaler = release.one("HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 9)
    assert scaler["scaleTargetRef"]["name"] == "gw-antigravity-proxy"
    streams, cpu = scaler["metrics"]
    assert streams["pods"]["metric"]["name"] == "antigravity_proxy_streams_in_flight"
    assert streams["pods"]["target"] == {"type": "AverageValue", "averageValue": "50"}
    assert cpu["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 600
    # Of streams no cluster knows by itself; while a metric is missing, nothing is scaled down.
    for values, left in [({}, "Resource"), (over(streams_too, at("autoscaling.cpu.enabled", False)), "Pods")]:
        release = shared(at("autoscaling.enabled", True), values)
        metrics = release.one("HorizontalPodAutoscaler")["spec"]["metrics"]
        assert [metric["type"] for metric in metrics] == [left]
    assert not shared().all("HorizontalPodAutoscaler")


def test_disruption_budget():
    budget = shared().one("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1 and budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert shared(at("podDisruptionBudget.maxUnavailable", "25%")).one("PodDisruptionBudget")["spec"][
        "maxUnavailable"
    ] == "25%"  # fmt: skip
    budget = shared(at("podDisruptionBudget.minAvailable", 2)).one("PodDisruptionBudget")["spec"]
    assert budget["minAvailable"] == 2 and "maxUnavailable" not in budget
    # A budget for one pod would only hold up the node.
    for values in ({"replicaCount": 1}, at("podDisruptionBudget.enabled", False)):
        assert not shared(values).all("PodDisruptionBudget")
    assert not least().all("PodDisruptionBudget")


def test_topology_spread():
    spread = shared(at("topologySpread.whenUnsatisfiable", "DoNotSchedule")).pod["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert {one["whenUnsatisfiable"] for one in spread} == {"DoNotSchedule"}
    assert all(one["matchLabelKeys"] == ["pod-template-hash"] for one in spread)
    assert "topologySpreadConstraints" not in shared(at("topologySpread.enabled", False)).pod


@pytest.mark.parametrize(
    "url",
    [
        "redis://gateway@redis.example.com:6379/0",
        "rediss://redis.example.com",
        "redis+cluster://a:7000,b:7000",
        "rediss+sentinel://gateway@a:26379,b:26379/primary/0?sentinel_user=watch",
    ],
)
def test_redis_by_address(url):
    release = least(at("redis.url", url), at("redis.existingSecret", "redis"), at("redis.passwordKey", "word"))
    assert release.env["REDIS_URL"] == url
    assert release.secret_files["redis-password"] == ("redis", "word")
    assert release.env["REDIS_PASSWORD_FILE"] == "/run/secrets/antigravity-proxy/redis-password"
    assert "redis-url" not in release.secret_files
    assert "redis-password" not in least(at("redis.url", url)).secret_files


def test_redis_by_secret():
    release = least(at("redis", {"existingSecret": "redis", "urlKey": "address"}))
    assert release.secret_files["redis-url"] == ("redis", "address")
    assert release.env["REDIS_URL_FILE"].endswith("/redis-url") and "REDIS_URL" not in release.env
    assert release.one("Deployment")["spec"]["replicas"] == 2


def test_valkey():
    release = least(at("valkey", {"enabled": True, "size": "3Gi", "storageClass": "fast", "image": "v:1"}))
    assert release.env["REDIS_URL"] == "redis://gw-antigravity-proxy-valkey:6379/0"
    assert release.secret_files["redis-password"] == ("gw-antigravity-proxy", "valkey-password")
    spec = release.one("StatefulSet", "-valkey")["spec"]
    server = spec["template"]["spec"]["containers"][0]
    assert server["image"] == "v:1"
    assert environment(server)["VALKEY_PASSWORD"]["secretKeyRef"]["key"] == "valkey-password"
    # What a gateway demands of its store (docs/redis.md).
    args = server["args"]
    assert args[args.index("--maxmemory-policy") + 1] == "noeviction"
    assert args[args.index("--appendonly") + 1] == "yes"
    # Its limit is 256Mi.
    assert args[args.index("--maxmemory") + 1] == str(256 * 2**20 * 3 // 5)
    claim = spec["volumeClaimTemplates"][0]["spec"]
    assert (claim["resources"]["requests"]["storage"], claim["storageClassName"]) == ("3Gi", "fast")
    assert release.one("Service", "-valkey")["spec"]["ports"][0]["port"] == 6379
    assert "trials" in release.notes
    assert not shared().all("StatefulSet")


@pytest.mark.parametrize(
    ("limit", "most"),
    [
        ("1Gi", 644245094), ("0.5Gi", 322122547), ("500M", 300000000), (1000000, 600000), ("100000Ki", 61440000),
        (None, None),
    ],
)  # fmt: skip
def test_valkey_refuses_writes_before_it_is_killed(limit, most):
    release = least(at("valkey", {"enabled": True, "resources": {"limits": {"memory": limit}}}))
    args = release.one("StatefulSet", "-valkey")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert ("--maxmemory" in args) == (most is not None)
    assert most is None or args[args.index("--maxmemory") + 1] == str(most)


def test_a_limit_that_is_no_size_is_refused():
    with pytest.raises(Refused, match=r"valkey.resources.limits.memory: write 512m in M, Mi, G or Gi"):
        least(at("valkey", {"enabled": True, "resources": {"limits": {"memory": "512m"}}}))


def test_an_upgrade_of_the_chart_leaves_valkey_alone(tmp_path):
    copy = tmp_path / "antigravity-proxy"
    shutil.copytree(CHART, copy)
    meta = yaml.safe_load((copy / "Chart.yaml").read_text()) | {"version": "9.9.9", "appVersion": "9.9.9"}
    (copy / "Chart.yaml").write_text(yaml.safe_dump(meta))
    values = over(LEAST, at("valkey.enabled", True), {"commonLabels": {"team": "platform"}})
    before, after = (Release(values, chart=chart).one("StatefulSet", "-valkey") for chart in (CHART, copy))
    assert after["metadata"]["labels"]["app.kubernetes.io/version"] == "9.9.9"
    assert before["spec"] == after["spec"]
    assert before["spec"]["template"]["metadata"]["labels"] == {
        "app.kubernetes.io/name": "antigravity-proxy", "app.kubernetes.io/instance": "gw",
        "app.kubernetes.io/component": "valkey", "team": "platform",
    }  # fmt: skip


def test_persistence():
    release = least(at("persistence", {"existingClaim": "mine"}))
    assert not release.all("PersistentVolumeClaim")
    assert release.pod["volumes"][-1]["persistentVolumeClaim"]["claimName"] == "mine"
    release = least(at("persistence", {"size": "9Gi", "storageClass": "fast"}))
    claim = release.one("PersistentVolumeClaim")["spec"]
    assert (claim["resources"]["requests"]["storage"], claim["storageClassName"]) == ("9Gi", "fast")
    release = least(at("persistence.enabled", False))
    assert release.pod["volumes"][-1] == {"name": "data", "emptyDir": {}}
    assert "WARNING: without Redis and without persistence" in release.notes


def test_trusted_ca():
    for source, kind in [("existingSecret", "secret"), ("existingConfigMap", "configMap")]:
        release = shared(at("trustedCa", {source: "ca", "key": "bundle.pem"}))
        assert release.env["SSL_CERT_FILE"] == "/etc/antigravity-proxy-ca/ca.crt"
        volume = next(volume for volume in release.pod["volumes"] if volume["name"] == "trusted-ca")
        assert volume[kind]["items"] == [{"key": "bundle.pem", "path": "ca.crt"}]
    assert "SSL_CERT_FILE" not in shared().env


def test_secrets_are_files_from_named_secrets():
    release = shared(
        at("encryption", {"existingSecret": "seal", "key": "k"}),
        at("oauth", {"existingSecret": "oauth", "idKey": "id", "secretKey": "s"}),
        at("apiKey", {"existingSecret": "clients", "key": "c"}),
        at("console", {"existingSecret": "console", "key": "p"}),
    )
    assert release.secret_files == {
        "encryption-keys": ("seal", "k"),
        "oauth-client-secret": ("oauth", "s"),
        "api-key": ("clients", "c"),
        "webui-password": ("console", "p"),
    }
    assert release.env["OAUTH_CLIENT_ID"] == {"secretKeyRef": {"name": "oauth", "key": "id"}}
    assert not release.all("Secret"), "nothing is left to generate"


def test_what_is_generated():
    release = shared()
    assert set(release.one("Secret")["data"]) == {"api-key", "webui-password"}
    assert release.secret_files["api-key"] == ("gw-antigravity-proxy", "api-key")
    release = shared(at("console.generatePassword", False))
    assert set(release.one("Secret")["data"]) == {"api-key"}
    assert "WEBUI_PASSWORD_FILE" not in release.env
    assert "WARNING: without oauth.existingSecret" in release.notes


def test_what_was_generated_is_kept(tmp_path):
    """There is no cluster to look into: a copy of the chart looks into its values instead."""
    copy = tmp_path / "antigravity-proxy"
    shutil.copytree(CHART, copy)
    helpers = copy / "templates/_helpers.tpl"
    looked_up = '(lookup "v1" "Secret" .Release.Namespace (include "antigravity-proxy.fullname" .))'
    assert helpers.read_text().count(looked_up) == 1
    helpers.write_text(helpers.read_text().replace(looked_up, ".Values.global.found"))

    def secret(found):
        values = over(LEAST, at("valkey.enabled", True), {"global": {"found": found}})
        return Release(values, chart=copy).one("Secret")["data"]

    first = secret({})
    assert len(set(first.values())) == 3
    assert secret({"data": first}) == first
    # A release that had no Valkey before gets its password with the upgrade.
    kept = {key: value for key, value in first.items() if key != "valkey-password"}
    later = secret({"data": kept})
    assert later.items() >= kept.items() and later["valkey-password"] != first["valkey-password"]
    assert secret({"data": {**first, "api-key": ""}})["api-key"], "an empty one is no key"


def test_accounts_are_imported_once():
    values = at("accounts", {"existingSecret": "accounts", "key": "pool.json"})
    release = shared(values)
    job = release.one("Job", "-import")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade"
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["args"] == ["accounts", "import", "--once", "--allow-refused", "/run/accounts/accounts.json"]
    assert "command" not in container, "the image has no shell"
    assert environment(container) == release.env, "it opens the same store with the same keys"
    volume = next(volume for volume in pod["volumes"] if volume["name"] == "accounts")
    assert volume["secret"]["items"] == [{"key": "pool.json", "path": "accounts.json"}]
    assert "initContainers" not in release.pod

    # An embedded store has one user: the pod itself imports, before the gateway opens it.
    release = least(values)
    assert not release.all("Job")
    container = release.pod["initContainers"][0]
    assert container["args"] == ["accounts", "import", "--once", "--allow-refused", "/run/accounts/accounts.json"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["data"] == "/var/lib/antigravity-proxy" and mounts["accounts"] == "/run/accounts"
    for release in (least(), shared()):
        assert not release.all("Job") and "initContainers" not in release.pod
        assert "The pool has no accounts until you bring some" in release.notes


def test_presets_and_settings():
    assert shared().config == {
        "accountSelection": {"strategy": "sticky", "throttle": {"emergencyMs": 0, "lastResortMs": 0}},
        "maxConcurrentPerAccount": 4,
        "drainDelayMs": 10000,
        "shutdownGraceMs": 600000,
    }
    assert set(shared({"preset": "none"}).config) == {"drainDelayMs", "shutdownGraceMs"}
    config = shared({"settings": {"accountSelection": {"strategy": "hybrid"}, "maxAccounts": 7}}).config
    assert config["accountSelection"] == {"strategy": "hybrid", "throttle": {"emergencyMs": 0, "lastResortMs": 0}}
    assert (config["maxAccounts"], config["maxConcurrentPerAccount"]) == (7, 4)


def test_changed_settings_replace_the_pods():
    def checksum(*more):
        return shared(*more).one("Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum() == checksum()
    assert checksum() != checksum({"settings": {"maxAccounts": 7}})


def test_logs_and_environment():
    release = shared(
        {"log": {"level": "debug", "format": "text"}, "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://p:1"}]}
    )
    env = release.env
    assert (env["LOG_LEVEL"], env["LOG_FORMAT"], env["HTTPS_PROXY"]) == ("debug", "text", "http://p:1")
    assert shared().env["LOG_FORMAT"] == "json"


def test_shutdown():
    for delay, grace, period in [(10000, 600000, 620), (1, 1, 11), (0, 0, 10), (15500, 1800000, 1826)]:
        release = shared({"shutdown": {"drainDelayMs": delay, "graceMs": grace}})
        assert release.pod["terminationGracePeriodSeconds"] == period
        assert (release.config["drainDelayMs"], release.config["shutdownGraceMs"]) == (delay, grace)
    assert release.gateway["lifecycle"] == {"preStop": {"exec": {"command": ["antigravity-proxy", "drain"]}}}
    # Readiness is noticed well within the default delay.
    probe = shared().gateway["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] * 1000 < shared().config["drainDelayMs"]


def test_probes_ask_the_listener_that_stays():
    gateway = shared(at("metrics.port", 9999)).gateway
    paths = {name: gateway[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {
        "startupProbe": {"path": "/startupz", "port": "metrics"},
        "readinessProbe": {"path": "/readyz", "port": "metrics"},
        "livenessProbe": {"path": "/livez", "port": "metrics"},
    }
    assert environment(gateway)["METRICS_ADDR"] == "0.0.0.0:9999"
    assert {port["containerPort"] for port in gateway["ports"]} == {8080, 9999}


def test_ipv6():
    env = shared({"host": "::"}).env
    assert (env["HOST"], env["METRICS_ADDR"]) == ("::", "[::]:9464")


def test_service():
    service = shared({"service": {"type": "NodePort", "port": 80, "annotations": {"a": "b"}}}).one("Service")
    assert service["spec"]["type"] == "NodePort" and service["metadata"]["annotations"] == {"a": "b"}
    assert service["spec"]["ports"][0] == {
        "name": "http", "port": 80, "targetPort": "http", "appProtocol": "http"
    }  # fmt: skip


def test_metrics_have_a_service_of_their_own():
    service = shared(at("metrics.annotations", {"a": "b"})).one("Service", "-metrics")
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["ports"][0]["targetPort"] == "metrics" and service["metadata"]["annotations"] == {"a": "b"}
    assert [port["name"] for port in shared().one("Service")["spec"]["ports"]] == ["http"]
    assert not shared(at("metrics.enabled", False)).has("Service", "-metrics")


INGRESS = at("ingress", {"enabled": True, "host": "claude.example.com"})


def test_ingress():
    release = shared(INGRESS, at("ingress", {"className": "nginx", "tls": {"secretName": "cert"}}))
    ingress = release.one("Ingress")
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["spec"]["tls"] == [{"hosts": ["claude.example.com"], "secretName": "cert"}]
    rule = ingress["spec"]["rules"][0]
    assert rule["host"] == "claude.example.com"
    paths = {path["path"]: path["pathType"] for path in rule["http"]["paths"]}
    # Nothing of the console.
    assert paths == {"/v1": "Prefix", "/": "Exact", "/api/hello": "Exact", "/api/event_logging/batch": "Exact"}
    assert release.env["PUBLIC_BASE_URL"] == "https://claude.example.com"
    assert "export ANTHROPIC_BASE_URL=https://claude.example.com" in release.notes
    assert "port-forward" not in release.notes
    plain = shared(INGRESS, at("ingress.tls.enabled", False))
    assert "tls" not in plain.one("Ingress")["spec"]
    assert plain.env["PUBLIC_BASE_URL"] == "http://claude.example.com"
    assert not shared().all("Ingress") and "PUBLIC_BASE_URL" not in shared().env


def test_streams_pass_the_ingress():
    annotations = shared(INGRESS, at("ingress", {"timeoutSeconds": 7200000, "bodySize": "80m"})).one("Ingress")[
        "metadata"
    ]["annotations"]
    name = "nginx.ingress.kubernetes.io/"
    assert annotations[f"{name}proxy-buffering"] == "off"
    assert annotations[f"{name}proxy-request-buffering"] == "off"
    assert annotations[f"{name}proxy-http-version"] == "1.1"
    assert annotations[f"{name}proxy-read-timeout"] == annotations[f"{name}proxy-send-timeout"] == "7200000"
    assert annotations[f"{name}proxy-body-size"] == "80m"
    # Elsewhere only what no pod has.
    assert annotations[f"{name}proxy-next-upstream"] == "error timeout"
    own = shared(INGRESS, at("ingress.annotations", {f"{name}proxy-body-size": "1g"}))
    assert own.one("Ingress")["metadata"]["annotations"][f"{name}proxy-body-size"] == "1g"
    f5 = shared(INGRESS, at("ingress.controller", "nginx-org")).one("Ingress")["metadata"]["annotations"]
    assert f5["nginx.org/proxy-buffering"] == "False" and f5["nginx.org/proxy-read-timeout"] == "3600s"
    assert f5["nginx.org/client-max-body-size"] == "50m"
    alb = shared(INGRESS, at("ingress.controller", "alb"), at("shutdown.graceMs", 90000))
    annotations = alb.one("Ingress")["metadata"]["annotations"]
    name = "alb.ingress.kubernetes.io/"
    assert annotations[f"{name}load-balancer-attributes"] == "idle_timeout.timeout_seconds=3600"
    # A ClusterIP has no port on the nodes.
    assert alb.one("Service")["spec"]["type"] == "ClusterIP" and annotations[f"{name}target-type"] == "ip"
    longest = shared(INGRESS, at("ingress", {"controller": "alb", "timeoutSeconds": 7200})).one("Ingress")
    assert longest["metadata"]["annotations"][f"{name}load-balancer-attributes"].endswith("=4000"), "its most"
    console = shared(at("consoleIngress", {"enabled": True, "host": "pool.example.com", "controller": "alb"}))
    assert console.one("Ingress", "-console")["metadata"]["annotations"][f"{name}target-type"] == "ip"
    # As long as the pod may take.
    assert alb.pod["terminationGracePeriodSeconds"] == 110
    assert annotations[f"{name}target-group-attributes"] == "deregistration_delay.timeout_seconds=110"
    long = shared(INGRESS, at("ingress.controller", "alb"), at("shutdown.graceMs", 7200000)).one("Ingress")
    assert long["metadata"]["annotations"][f"{name}target-group-attributes"].endswith("=3600"), "its most"
    assert "annotations" not in shared(INGRESS, at("ingress.controller", "none")).one("Ingress")["metadata"]


def test_the_console_has_an_ingress_of_its_own():
    values = at("consoleIngress", {"enabled": True, "host": "pool.example.com", "className": "internal"})
    release = shared(INGRESS, values)
    ingress = release.one("Ingress", "-console")
    assert ingress["spec"]["rules"][0]["host"] == "pool.example.com"
    assert [path["path"] for path in ingress["spec"]["rules"][0]["http"]["paths"]] == ["/"]
    assert ingress["spec"]["ingressClassName"] == "internal"
    assert release.env["PUBLIC_BASE_URL"] == "https://claude.example.com"
    assert not shared(INGRESS).has("Ingress", "-console")


def test_http_route():
    values = at(
        "httpRoute",
        {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["claude.example.com"], "timeout": "2h"},
    )
    release = shared(values, at("service.port", 80))
    spec = release.one("HTTPRoute")["spec"]
    rule = spec["rules"][0]
    assert spec["parentRefs"] == [{"name": "public"}] and spec["hostnames"] == ["claude.example.com"]
    assert rule["timeouts"] == {"request": "2h", "backendRequest": "2h"}
    assert rule["backendRefs"] == [{"name": "gw-antigravity-proxy", "port": 80}]
    assert {match["path"]["value"] for match in rule["matches"]} == {
        "/v1", "/", "/api/hello", "/api/event_logging/batch"
    }  # fmt: skip
    assert release.env["PUBLIC_BASE_URL"] == "https://claude.example.com"
    assert shared(values, at("httpRoute.scheme", "http")).env["PUBLIC_BASE_URL"] == "http://claude.example.com"
    own = shared(values, {"publicBaseUrl": "https://gateway.example.com"})
    assert own.env["PUBLIC_BASE_URL"] == "https://gateway.example.com"


@pytest.mark.parametrize(
    ("hosts", "url"),
    [
        (["*.example.com"], None),
        (["*.example.com", "claude.example.com", "other.example.com"], "https://claude.example.com"),
        (["claude.example.com", "*.example.com"], "https://claude.example.com"),
    ],
)
def test_a_wildcard_is_no_address(hosts, url):
    route = at("httpRoute", {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": hosts})
    release = shared(route)
    assert release.one("HTTPRoute")["spec"]["hostnames"] == hosts
    assert release.env.get("PUBLIC_BASE_URL") == url
    assert ("port-forward" in release.notes) == (url is None) and "*." not in release.notes
    assert url is None or f"export ANTHROPIC_BASE_URL={url}" in release.notes
    # Behind an ingress that is for all names, the route's name is one.
    both = shared(route, at("ingress", {"enabled": True, "host": "*.example.org"}))
    assert both.env.get("PUBLIC_BASE_URL") == url


def test_an_ingress_of_a_wildcard():
    console = at("consoleIngress", {"enabled": True, "host": "*.pool.example.com"})
    release = shared(at("ingress", {"enabled": True, "host": "*.example.com"}), console)
    for suffix, host in [("", "*.example.com"), ("-console", "*.pool.example.com")]:
        spec = release.one("Ingress", suffix)["spec"]
        assert spec["rules"][0]["host"] == host and spec["tls"][0]["hosts"] == [host]
    assert "PUBLIC_BASE_URL" not in release.env and "*." not in release.notes


def test_the_notes_say_when_all_who_use_the_console_count_as_one():
    console = at("consoleIngress", {"enabled": True, "host": "pool.example.com"})
    assert "WARNING: without settings.trustedProxies" in shared(console).notes
    named = shared(console, at("settings.trustedProxies", ["10.244.0.0/16"]))
    assert named.config["trustedProxies"] == ["10.244.0.0/16"]
    by_environment = shared(console, {"extraEnv": [{"name": "TRUSTED_PROXIES", "value": "10.244.0.0/16"}]})
    for release in (named, by_environment, shared()):
        assert "trustedProxies" not in release.notes


def test_network_policy_denies_what_is_not_listed():
    values = at("networkPolicy.enabled", True)
    release = shared(values, at("accounts.existingSecret", "a"))
    spec = release.one("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    covered = spec["podSelector"]["matchExpressions"][0]["values"]
    components = {labels["app.kubernetes.io/component"] for labels, _, _ in pods(release.objects)}
    assert set(covered) == components - {"test"}
    assert [rule["ports"][0]["port"] for rule in spec["ingress"]] == ["http", "metrics"]
    dns, redis, upstream = spec["egress"]
    assert [port["port"] for port in dns["ports"]] == [53, 53]
    assert [port["port"] for port in redis["ports"]] == [6379] and "to" not in redis
    assert upstream["ports"] == [{"port": 443, "protocol": "TCP"}]
    block = upstream["to"][0]["ipBlock"]
    assert block["cidr"] == "0.0.0.0/0" and "10.0.0.0/8" in block["except"]
    assert not shared().all("NetworkPolicy")
    # Without Redis there is no way to one.
    assert len(least(values).one("NetworkPolicy")["spec"]["egress"]) == 2


def test_network_policy_of_peers():
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}
    values = at(
        "networkPolicy",
        {
            "enabled": True, "from": [peer], "metricsFrom": [peer], "extraEgress": [{"to": [peer]}],
            "redis": {"to": [peer], "ports": [7000, 7001]},
            "upstream": {"cidrs": ["::/0"], "except": ["fc00::/7", "10.0.0.0/8"], "ports": [443, 8443]},
        },
    )  # fmt: skip
    spec = shared(values).one("NetworkPolicy")["spec"]
    clients, metrics = spec["ingress"]
    assert clients["from"][0] == peer and metrics["from"] == [peer]
    assert clients["from"][1]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    _, redis, upstream, extra = spec["egress"]
    # And that of its address.
    assert redis == {"ports": [{"port": port, "protocol": "TCP"} for port in (7000, 7001, 6379)], "to": [peer]}
    assert upstream["to"] == [{"ipBlock": {"cidr": "::/0", "except": ["fc00::/7"]}}]
    assert len(upstream["ports"]) == 2 and extra == {"to": [peer]}


def egress(*more):
    return shared(at("networkPolicy.enabled", True), *more).one("NetworkPolicy")["spec"]["egress"]


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("redis://redis", [6379]),
        ("redis://gateway@redis:6380/0", [6379, 6380]),
        ("redis+cluster://a:7000,b:7001,c", [6379, 7000, 7001]),
        ("rediss+cluster://[fd00::1]:7000,[fd00::2]", [6379, 7000]),
        ("redis+sentinel://gateway@a:26380,b/primary/0?sentinel_user=a:1", [6379, 26379, 26380]),
    ],
)
def test_the_way_to_redis_is_open(url, ports):
    """Whatever port its address names, with the program's own defaults."""
    rule = egress(at("redis.url", url))[1]
    assert sorted(port["port"] for port in rule["ports"]) == ports
    more = egress(at("redis.url", url), at("networkPolicy.redis.ports", [7005]))[1]
    assert {7005, *ports} - {6379} <= {port["port"] for port in more["ports"]}


def test_no_rule_of_a_policy_is_for_everything():
    """A rule without ports and peers, or a peer that is empty, would be for all; `null` takes a default away."""
    for path in ("redis.ports", "upstream.ports", "upstream.cidrs", "collector.ports"):
        values = over(at(f"networkPolicy.{path}", None), at("tracing.endpoint", "http://collector:4318"))
        for rule in egress(values):
            assert rule["ports"] and rule.get("to") != [], path
            assert all(port.get("port") for port in rule["ports"]), path
    by_secret = Release(over(LEAST, at("redis.existingSecret", "r"), at("networkPolicy", {
        "enabled": True, "redis": {"ports": None}})))  # fmt: skip
    assert [rule["ports"][0]["port"] for rule in by_secret.one("NetworkPolicy")["spec"]["egress"]] == [53, 443]


@pytest.mark.parametrize(
    ("cidr", "left_out"),
    [
        ("0.0.0.0/0", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"]),
        ("::/0", ["fc00::/7", "fe80::/10"]),
        ("199.36.153.8/30", []),
        # What is named is wanted, though it is private.
        ("10.0.0.0/8", []), ("10.30.0.0/16", []), ("fd00:1::/32", []),
        ("172.0.0.0/8", ["172.16.0.0/12"]), ("192.0.0.0/2", ["192.168.0.0/16"]),
        ("128.0.0.0/1", ["172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"]),
        ("2000::/3", []), ("fe00::/8", ["fe80::/10"]), ("8000::/1", ["fc00::/7", "fe80::/10"]),
    ],
)  # fmt: skip
def test_what_is_left_out_of_the_way_out_is_a_part_of_it(cidr, left_out):
    block = egress(at("networkPolicy.upstream.cidrs", [cidr]))[2]["to"][0]["ipBlock"]
    assert block.pop("except", []) == left_out and block == {"cidr": cidr}
    for part in left_out:
        assert ipaddress.ip_network(part).subnet_of(ipaddress.ip_network(cidr))


def test_blocks_of_addresses_are_compared_bit_by_bit():
    """As Python compares them."""
    dice = random.Random(1)
    for bits, network in [(32, ipaddress.IPv4Network), (128, ipaddress.IPv6Network)]:
        cidrs, excepts = [], []
        for _ in range(12):
            address, length = dice.getrandbits(bits), dice.randint(0, bits - 1)
            cidrs.append(network((address, length), strict=False))
            # Within it, or with one bit of the address changed.
            near = address ^ (dice.getrandbits(1) << dice.randrange(bits))
            excepts.append(network((near, dice.randint(length, bits)), strict=False))
        blocks = egress(at("networkPolicy.upstream", {"cidrs": [*map(str, cidrs)], "except": [*map(str, excepts)]}))[2]
        for cidr, item in zip(cidrs, blocks["to"], strict=True):
            wanted = [str(one) for one in excepts if one.subnet_of(cidr) and one != cidr]
            assert item["ipBlock"].get("except", []) == wanted, cidr


def test_valkey_is_for_the_gateway_only():
    release = least(at("valkey.enabled", True), at("networkPolicy.enabled", True))
    spec = release.one("NetworkPolicy", "-valkey")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"] and spec["egress"] == []
    assert spec["ingress"][0]["from"][0]["podSelector"]["matchExpressions"][0]["values"] == ["gateway", "import"]
    redis = release.one("NetworkPolicy")["spec"]["egress"][1]
    assert redis["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "valkey"


def test_tracing():
    values = at("tracing", {"endpoint": "http://collector.observability:4318", "ratio": 0.25})
    release = shared(values)
    wanted = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.observability:4318",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
        "OTEL_SERVICE_NAME": "gw-antigravity-proxy",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.namespace.name=ns,k8s.pod.name=$(POD_NAME)",
    }
    assert {name: value for name, value in release.env.items() if name.startswith("OTEL_")} == wanted
    # What a variable refers to stands before it.
    names = [one["name"] for one in release.gateway["env"]]
    assert names.index("POD_NAME") < names.index("OTEL_RESOURCE_ATTRIBUTES")
    assert not any(name.startswith("OTEL_") for name in shared().env)


def test_the_collectors_headers_are_a_file():
    tracing = {"endpoint": "https://collector.example.com", "existingSecret": "collector", "key": "headers"}
    release = shared(at("tracing", tracing))
    assert release.env["OTEL_EXPORTER_OTLP_HEADERS_FILE"] == "/run/secrets/antigravity-proxy/otlp-headers"
    volume = next(one for one in release.pod["volumes"] if one["name"] == "secrets")
    sources = {one["secret"]["name"]: one["secret"]["items"] for one in volume["projected"]["sources"]}
    assert sources["collector"] == [{"key": "headers", "path": "otlp-headers"}]


def test_the_way_to_the_collector_is_open():
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}}}
    endpoint = at("tracing.endpoint", "http://collector.observability:4318")
    spec = shared(at("networkPolicy.enabled", True), endpoint).one("NetworkPolicy")["spec"]
    assert spec["egress"][-1] == {"ports": [{"port": 4318, "protocol": "TCP"}]}
    # A Service may have another port than its pods.
    own = at("networkPolicy", {"enabled": True, "collector": {"to": [peer], "ports": [4320]}})
    for address, port in [("http://c:4318", 4318), ("https://collector.example.com/otlp", 443), ("http://c", 80)]:
        spec = shared(own, at("tracing.endpoint", address)).one("NetworkPolicy")["spec"]
        assert [one["port"] for one in spec["egress"][-1]["ports"]] == [4320, port]
        assert spec["egress"][-1]["to"] == [peer]


def test_service_monitor():
    values = at("metrics.serviceMonitor", {"enabled": True, "labels": {"release": "p"}, "interval": "15s"})
    release = shared(values)
    monitor = release.one("ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "p"
    assert monitor["spec"]["endpoints"] == [
        {"port": "metrics", "path": "/metrics", "interval": "15s", "scrapeTimeout": "10s"}
    ]
    selector = monitor["spec"]["selector"]["matchLabels"].items()
    chosen = [service for service in release.all("Service") if selector <= service["metadata"]["labels"].items()]
    assert [service["metadata"]["name"] for service in chosen] == ["gw-antigravity-proxy-metrics"]
    assert not shared().all("ServiceMonitor")


MONITOR = at("metrics.serviceMonitor.enabled", True)


def test_alerts_link_their_runbooks():
    values = at(
        "metrics.prometheusRule",
        {"enabled": True, "labels": {"release": "p"}, "alertLabels": {"team": "x"}, "runbookUrl": "https://w/ops"},
    )
    rule = shared(values, MONITOR).one("PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "p"
    files = [yaml.safe_load(file.read_text()) for file in (CHART / "files/alerts").glob("*.yaml")]
    wanted = {rule["alert"] for file in files for group in file["groups"] for rule in group["rules"] if "alert" in rule}
    alerts = [rule for group in rule["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert {alert["alert"] for alert in alerts} == wanted and wanted
    for alert in alerts:
        assert alert["annotations"]["runbook_url"] == f"https://w/ops#{alert['alert'].lower()}"
        assert alert["labels"]["team"] == "x" and alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"]["summary"] and alert["annotations"]["description"]
    unsaid = shared(at("metrics.prometheusRule.enabled", True), MONITOR).one("PrometheusRule")
    assert "runbook_url" not in str(unsaid), "a link that leads nowhere"
    assert not shared().all("PrometheusRule")


def test_alerts_are_of_this_release_and_have_its_thresholds():
    def expressions(values):
        rule = shared(at("metrics.prometheusRule", {"enabled": True} | values), MONITOR).one("PrometheusRule")
        groups = rule["spec"]["groups"]
        return {rule.get("alert", rule.get("record")): rule["expr"] for group in groups for rule in group["rules"]}

    own = expressions({})
    assert all('namespace="ns",job="gw"' in expression for expression in own.values())
    chosen = expressions({"selector": 'job="x"'})
    assert all('{' in expression and 'job="x"' in expression and "gw" not in expression for expression in chosen.values())
    for path, value, name, part in [
        ("slo.availability", 0.999, "ErrorBudgetBurnsFast", "14.4 * (1 - 0.999)"),
        ("slo.firstEvent", 0.99, "LatencyBudgetBurnsSlowly", "1 - 0.99"),
        ("slo.firstEventSeconds", 30, "LatencyBudgetBurnsFast", 'le=~"30([.]0)?"'),
        ("slo.minFailures", 25, "UpstreamFailing", ">= 25"),
        ("thresholds.availableAccounts", 0.4, "FewAccountsLeft", "< 0.4 > 0"),
        ("thresholds.waitingAdmissions", 0.3, "WaitsSaturating", "> 0.3"),
        ("thresholds.upstreamFailures", 0.7, "UpstreamFailing", "> 0.7"),
        ("thresholds.storeSeconds", 0.1, "StoreSlow", "> 0.1"),
    ]:
        changed = expressions(at(path, value))
        assert part in changed[f"AntigravityProxy{name}"] and part not in own[f"AntigravityProxy{name}"], path


def test_a_time_to_the_first_event_is_a_bound_of_its_buckets():
    source = (ROOT / "src/telemetry/metrics.rs").read_text()
    bounds = re.search(r"FIRST_EVENT_SECONDS: &\[f64\] = &\[([^]]+)\]", source)[1]
    schema = json.loads((CHART / "values.schema.json").read_text())
    for key in ("metrics", "prometheusRule", "slo", "firstEventSeconds"):
        schema = schema["properties"][key]
    assert schema["enum"] == [float(bound) for bound in bounds.split(",")]


def test_dashboards():
    values = at("metrics.dashboards", {"enabled": True, "annotations": {"folder": "f"}})
    release = shared(values)
    files = sorted((CHART / "files/dashboards").glob("*.json"))
    assert files
    for file in files:
        item = release.one("ConfigMap", f"-{file.stem}")
        assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert item["metadata"]["annotations"] == {"folder": "f"}
        (text,) = item["data"].values()
        assert json.loads(text) == json.loads(file.read_text())
    assert len(shared().all("ConfigMap")) == 1


def test_alerts_and_dashboards_name_metrics_that_exist():
    source = (ROOT / "src/telemetry/metrics.rs").read_text()
    known = set(re.findall(r'^    \w+: \w+(?:<\w+>)? = "(\w+)"', source, re.MULTILINE))
    assert len(known) > 15
    for file in (CHART / "files").rglob("*.*"):
        # What recording rules make has a colon before it.
        for name in re.findall(r"(?<!:)antigravity_proxy_(\w+)", file.read_text()):
            assert name in known or re.sub("_(bucket|sum|count)$", "", name) in known, f"{file.name}: {name}"
    assert "streams_in_flight" in known, "what the autoscaler aims at"


def test_pods():
    values = {
        "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
        "podLabels": {"l": "1"}, "podAnnotations": {"a": "1"}, "nodeSelector": {"n": "1"},
        "tolerations": [{"operator": "Exists"}], "affinity": {"nodeAffinity": {}}, "priorityClassName": "high",
        "podSecurityContext": {"runAsUser": 1000}, "securityContext": {"privileged": False},
        "extraVolumes": [{"name": "v", "emptyDir": {}}], "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
    }  # fmt: skip
    release = shared(values)
    pod, metadata = release.pod, release.one("Deployment")["spec"]["template"]["metadata"]
    assert metadata["labels"]["l"] == "1" and metadata["annotations"]["a"] == "1"
    assert "l" not in release.one("Deployment")["spec"]["selector"]["matchLabels"]
    assert pod["nodeSelector"] == {"n": "1"} and pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["affinity"] == {"nodeAffinity": {}} and pod["priorityClassName"] == "high"
    assert pod["securityContext"]["runAsUser"] == 1000
    assert release.gateway["securityContext"]["privileged"] is False
    assert release.gateway["resources"]["requests"]["cpu"] == "1"
    assert {"name": "v", "mountPath": "/v"} in release.gateway["volumeMounts"]
    assert {"name": "v", "emptyDir": {}} in pod["volumes"]


def test_service_account():
    release = shared(at("serviceAccount", {"name": "me", "annotations": {"a": "1"}}))
    account = release.all("ServiceAccount")[0]
    assert account["metadata"]["name"] == "me" and account["metadata"]["annotations"] == {"a": "1"}
    assert account["automountServiceAccountToken"] is False and release.pod["serviceAccountName"] == "me"
    release = shared(at("serviceAccount.create", False))
    assert not release.all("ServiceAccount") and release.pod["serviceAccountName"] == "default"


def test_the_test_sends_a_request():
    pod = shared(at("service.port", 80), at("apiKey", {"existingSecret": "clients", "key": "c"})).one("Pod", "-test")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    # A pod that has just started has no models yet: it is asked again, but not for ever.
    assert pod["spec"]["restartPolicy"] == "OnFailure" and 60 < pod["spec"]["activeDeadlineSeconds"] < 300
    container = pod["spec"]["containers"][0]
    url = "http://gw-antigravity-proxy:80"
    assert container["args"] == ["healthcheck", "--url", url, "--model", "claude-haiku-4-5"]
    assert "command" not in container
    assert pod["spec"]["volumes"][0]["secret"] == {
        "secretName": "clients", "defaultMode": 0o440, "items": [{"key": "c", "path": "api-key"}]
    }  # fmt: skip
    container = shared(at("test.model", "")).one("Pod", "-test")["spec"]["containers"][0]
    assert container["args"] == ["healthcheck", "--url", "http://gw-antigravity-proxy:8080", "--models"]


def test_the_notes_have_what_a_claude_code_user_needs():
    notes = shared(at("oauth.existingSecret", "o")).notes
    assert "export ANTHROPIC_BASE_URL=http://127.0.0.1:8080" in notes and "port-forward --namespace ns" in notes
    assert "export ANTHROPIC_AUTH_TOKEN=" in notes and "gw-antigravity-proxy -o jsonpath='{.data.api-key}'" in notes
    assert "helm test --namespace ns gw" in notes and "WARNING" not in notes
    assert "kubectl exec --namespace ns deploy/gw-antigravity-proxy -- antigravity-proxy keys create NAME" in notes
    signin = "kubectl exec -it --namespace ns deploy/gw-antigravity-proxy -- antigravity-proxy accounts add --no-browser"
    assert signin in notes and signin not in shared().notes, "there is no OAuth client to sign in with"
