"""Names that YAML would read as something else, and keys that are given twice."""

import json

import pytest
import yaml
from chart import LEAST, SCENARIOS, Release, Strict, at, over, pods

# What Kubernetes takes for names, and YAML unquoted for numbers, truth, nothing, times.
ODD = ["12345", "true", "null", "1e3", "0x1f", "1.5", "no", "12.30.45", "2026-11-27"]
# What Kubernetes wants to be texts; there is nothing else in them but lists and objects.
TEXTS = {
    "name", "host", "hosts", "hostnames", "secretName", "claimName", "storageClassName", "ingressClassName",
    "serviceAccountName", "priorityClassName", "serviceName", "key", "image", "labels", "annotations", "matchLabels",
    "selector", "storage", "value", "args", "nodeSelector",
}  # fmt: skip


def found(item, path=()):
    """(path, scalar) of all."""
    if isinstance(item, dict):
        for key, value in item.items():
            yield from found(value, (*path, key))
    elif isinstance(item, list):
        for value in item:
            yield from found(value, path)
    else:
        yield path, item


def secret(name, key="1e3", word="key"):
    return {"existingSecret": name, word: key}


def named(name):
    """Values with that name wherever a name can be given."""
    return {
        "nameOverride": "1e3" if "." in name else name, "fullnameOverride": "gw-antigravity-proxy",
        "image": {"pullSecrets": [name], "tag": name},
        "encryption": secret(name), "apiKey": secret(name), "console": secret(name), "accounts": secret(name),
        "oauth": {"existingSecret": name, "idKey": name, "secretKey": "1e4"},
        "trustedCa": secret(name), "serviceAccount": {"name": name, "annotations": {"a": name}},
        "priorityClassName": name, "nodeSelector": {"a": name}, "podLabels": {"a": name}, "podAnnotations": {"a": name},
        "commonLabels": {"b": name},
        "ingress": {"enabled": True, "host": name, "className": name, "tls": {"secretName": name}},
        "consoleIngress": {"enabled": True, "host": f"1.{name}", "className": name, "tls": {"secretName": name}},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": name}], "hostnames": [name]},
        "metrics": {"serviceMonitor": {"enabled": True, "labels": {"a": name}},
                    "prometheusRule": {"enabled": True, "labels": {"a": name}, "alertLabels": {"a": name}},
                    "dashboards": {"enabled": True, "labels": {"a": name}, "annotations": {"a": name}}},
        "networkPolicy": {"enabled": True}, "test": {"model": name}, "pool": name, "log": {"level": name},
        "tracing": {"endpoint": "http://collector:4318", **secret(name)},
        "service": {"annotations": {"a": name}},
    }  # fmt: skip


def checked(release, name):
    texts = 0
    for item in release.objects:
        for path, value in found(item):
            if TEXTS & set(path):
                assert isinstance(value, str), (item["kind"], path, value)
                texts += value == name
    return texts


@pytest.mark.parametrize("name", ODD)
def test_every_name_is_a_text(name):
    values = named(name)
    shared = Release(over(values, at("redis", {"existingSecret": name, "urlKey": name})))
    assert checked(shared, name) > 30
    assert shared.secret_files["redis-url"] == (name, name)
    store = {"valkey": {"enabled": True, "storageClass": name}}
    assert checked(Release(over(values, store)), name) > 30
    alone = {"persistence": {"storageClass": name, "size": "1"}}
    assert checked(Release(over(values, alone)), name) > 30
    claimed = Release(over(values, at("persistence.existingClaim", name), at("trustedCa", {
        "existingSecret": "", "existingConfigMap": name})))  # fmt: skip
    assert checked(claimed, name) > 30


@pytest.mark.parametrize("name", ["true", "null", "no", "yes"])
def test_a_release_may_be_called_so(name):
    for values in ({"fullnameOverride": name}, {"nameOverride": name}):
        release = Release(over(LEAST, at("valkey.enabled", True), values), name=name)
        checked(release, name)
        assert all(item["metadata"]["labels"]["app.kubernetes.io/instance"] == name for item in release.objects)
        assert release.all("Deployment")[0]["metadata"]["name"] == name


def test_a_release_may_be_called_like_a_number():
    release = Release(over(LEAST, {"fullnameOverride": "gateway"}), name="123")
    labels = [item["metadata"]["labels"] for item in release.objects]
    labels += [labels for labels, _, _ in pods(release.objects)]
    assert {one["app.kubernetes.io/instance"] for one in labels} == {"123"}
    checked(release, "123")


def test_the_loader_sees_a_key_that_is_written_twice():
    with pytest.raises(yaml.constructor.ConstructorError, match="written twice"):
        yaml.load("a: {b: 1, c: 2, b: 1}", Strict)


def test_keys_given_twice_are_written_once():
    """Every rendering is read by that loader: this has the same keys at all places that are merged."""
    own = {"team": "own", "app.kubernetes.io/instance": "prometheus", "helm.sh/chart": "c"}
    values = over(
        LEAST,
        {
            "redis": {"url": "redis://redis"},
            "commonLabels": {"team": "all"},
            "podLabels": {"team": "pods"},
            "podAnnotations": {"checksum/config": "mine", "kubectl.kubernetes.io/default-container": "other", "a": "b"},
            "metrics": {
                "serviceMonitor": {"enabled": True, "labels": own},
                "prometheusRule": {"enabled": True, "labels": own, "alertLabels": {"severity": "mine"}},
                "dashboards": {"enabled": True, "labels": own},
            },
        },
    )
    release = Release(values)
    # What is given for one object wins over what is given for all.
    template = release.one("Deployment")["spec"]["template"]["metadata"]
    assert template["labels"]["team"] == "pods"
    assert template["labels"]["app.kubernetes.io/instance"] == "gw", "it selects"
    assert release.one("Deployment")["metadata"]["labels"]["team"] == "all"
    for item in [release.one("ServiceMonitor"), release.one("PrometheusRule"), release.one("ConfigMap", "-pool")]:
        assert item["metadata"]["labels"].items() >= own.items()
    # Settings that change have to replace the pods.
    annotations = template["annotations"]
    assert len(annotations.pop("checksum/config")) == 64
    assert annotations == {"kubectl.kubernetes.io/default-container": "other", "a": "b"}


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_scenarios_write_no_key_twice(path):
    values = yaml.load(path.read_text(), Strict)
    release = Release(values)
    assert release.objects
    for item in release.all("ConfigMap"):
        for text in item["data"].values():
            json.loads(text, object_pairs_hook=once)


def once(pairs):
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)
