"""Each values file of `ci/`: it renders, it is what Kubernetes and the operators accept, and it keeps the rules."""

import ipaddress
import json
import re

import kubernetes_validate
import pytest
import yaml
from chart import BINARY, CHART, ROOT, SCENARIOS, Release, lint, pods, program, run

OLDEST = "1.28"
NEWEST = kubernetes_validate.latest_version()
CUSTOM = ("gateway.networking.k8s.io/", "monitoring.coreos.com/")


def release(path):
    return Release(yaml.safe_load(path.read_text()))


@pytest.fixture(params=SCENARIOS, ids=lambda path: path.name.removesuffix("-values.yaml"))
def scenario(request):
    return release(request.param)


def core(objects):
    return [item for item in objects if not item["apiVersion"].startswith(CUSTOM)]


def custom(objects):
    return [item for item in objects if item["apiVersion"].startswith(CUSTOM)]


def custom_problems(objects):
    node = run([program("node"), "tests/chart/custom.mjs"], cwd=ROOT, input=json.dumps(objects))
    assert node.returncode == 0, node.stderr
    return json.loads(node.stdout)


def test_there_are_scenarios():
    assert len(SCENARIOS) >= 7


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_core_kinds_are_valid(scenario, version):
    for item in core(scenario.objects):
        kubernetes_validate.validate(item, version, strict=True)


def test_custom_kinds_are_valid():
    objects = [item for path in SCENARIOS for item in custom(release(path).objects)]
    assert {item["kind"] for item in objects} == {"HTTPRoute", "PrometheusRule", "ServiceMonitor"}
    assert custom_problems(objects) == [[] for _ in objects]


def test_the_validators_see_mistakes():
    production = release(CHART / "ci/production-values.yaml")
    deployment = production.one("Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        kubernetes_validate.validate(deployment, OLDEST, strict=True)
    monitor, rule = production.one("ServiceMonitor"), production.one("PrometheusRule")
    monitor["spec"]["endpoints"][0]["intervall"] = "30s"
    rule["spec"]["groups"][0]["rules"][0]["for"] = "half an hour"
    assert [len(problems) for problems in custom_problems([monitor, rule])] == [1, 1]


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_lint_is_clean(path):
    report = lint(yaml.safe_load(path.read_text()))
    # 1 is information: no icon.
    assert report["errors"] == [] and all(message["severity"] <= 1 for message in report["messages"]), report


def test_lint_of_the_defaults_is_clean():
    report = lint(None)
    assert report["errors"] == [] and all(message["severity"] <= 1 for message in report["messages"]), report


def test_names_and_labels(scenario):
    names = [(item["kind"], item["metadata"]["name"]) for item in scenario.objects]
    assert len(names) == len(set(names))
    for item in scenario.objects:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "antigravity-proxy"
        assert labels["app.kubernetes.io/instance"] == "gw"
        assert "namespace" not in item["metadata"]


def test_every_pod_is_confined(scenario):
    found = list(pods(scenario.objects))
    assert len(found) >= 2
    for _, pod, item in found:
        where = item["metadata"]["name"]
        assert pod["automountServiceAccountToken"] is False, where
        assert pod["enableServiceLinks"] is False, where
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] == 65532, where
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), where
        for container in pod["containers"] + pod.get("initContainers", []):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, where
            assert context["allowPrivilegeEscalation"] is False, where
            assert context["capabilities"] == {"drop": ["ALL"]}, where
            assert container["resources"]["requests"] and container["resources"]["limits"]["memory"], where


def test_selectors_select_their_own_pods_only(scenario):
    labels = [(labels, item) for labels, _, item in pods(scenario.objects)]

    def selected(selector):
        return [item["kind"] for labels, item in labels if selector.items() <= labels.items()]

    assert selected(scenario.one("Service")["spec"]["selector"]) == ["Deployment"]
    assert selected(scenario.one("Deployment")["spec"]["selector"]["matchLabels"]) == ["Deployment"]
    for kind in ("Service", "PodDisruptionBudget"):
        for item in scenario.all(kind):
            selector = item["spec"]["selector"]
            assert len(selected(selector.get("matchLabels", selector))) == 1, item["metadata"]["name"]


def test_the_policy_lets_the_gateway_to_its_redis(scenario):
    """Each port that its address names is open, to all or to the peers of the same rule."""
    address = scenario.env.get("REDIS_URL", "")
    named = {int(port) for port in re.findall(r":([0-9]+)(?=[,/]|$)", address.split("//")[-1])}
    for policy in scenario.all("NetworkPolicy"):
        if policy["metadata"]["name"] == "gw-antigravity-proxy" and address:
            assert named
            assert any(named <= {port["port"] for port in rule["ports"]} for rule in policy["spec"]["egress"])


def test_nothing_is_left_out_that_is_not_let_in(scenario):
    """Which an API server refuses."""
    for policy in scenario.all("NetworkPolicy"):
        for rule in policy["spec"]["egress"]:
            for block in (peer["ipBlock"] for peer in rule.get("to", []) if "ipBlock" in peer):
                whole = ipaddress.ip_network(block["cidr"])
                for part in map(ipaddress.ip_network, block.get("except", [])):
                    assert part.version == whole.version and part != whole and part.subnet_of(whole)


def test_ports_and_volumes_fit(scenario):
    ports = {port["name"] for port in scenario.gateway["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert scenario.gateway[probe]["httpGet"]["port"] in ports
    for _, pod, item in pods(scenario.objects):
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", [])}
        for container in pod["containers"] + pod.get("initContainers", []):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_no_secret_is_written_out(scenario):
    """Only the release's own Secret has values; whoever needs one names a Secret and a key."""
    secrets = [item for item in scenario.objects if item["kind"] == "Secret"]
    assert len(secrets) <= 1
    text = json.dumps([item for item in scenario.objects if item["kind"] != "Secret"])
    for secret in secrets:
        assert all(len(value) >= 32 for value in secret["data"].values())
        assert not any(value in text for value in secret["data"].values())
    own = {key for secret in secrets for key in secret["data"]}
    for name, key in scenario.secret_files.values():
        assert name != "gw-antigravity-proxy" or key in own
    # Files, and the variables that name them, belong together.
    files = {value.rsplit("/", 1)[1] for name, value in scenario.env.items() if name.endswith("_FILE") and
             name != "CONFIG_FILE" and name != "SSL_CERT_FILE"}
    assert files == set(scenario.secret_files)


def test_the_binary_takes_the_settings(scenario, tmp_path):
    """`config check` with what the pod would have, secrets included."""
    env = {}
    for name, value in scenario.env.items():
        if not isinstance(value, str):
            value = "client"
        elif name == "CONFIG_FILE":
            value = str(tmp_path / "config.json")
        elif name == "SSL_CERT_FILE":
            value = str(tmp_path / "ca.crt")
        elif name == "DATA_DIR":
            value = str(tmp_path / "data")
        elif name.endswith("_FILE"):
            file = tmp_path / value.rsplit("/", 1)[1]
            file.write_text(SECRETS[file.name])
            value = str(file)
        env[name] = value
    (tmp_path / "config.json").write_text(json.dumps(scenario.config))
    if "SSL_CERT_FILE" in env:
        key = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        made = run([*key, "-subj", "/CN=test", "-keyout", "/dev/null", "-out", env["SSL_CERT_FILE"]])
        assert made.returncode == 0, made.stderr
    env |= {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    checked = run([BINARY, "config", "check"], env=env, cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    rows = dict(re.findall(r"^(\S+) +(.*?) {2,}", checked.stdout, re.MULTILINE))
    assert rows["drainDelayMs"] == str(scenario.config["drainDelayMs"])
    assert "warning" not in checked.stderr, checked.stderr


SECRETS = {
    "api-key": "key-one,key-two\n",
    "webui-password": "a long password\n",
    "encryption-keys": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
    "oauth-client-secret": "client-secret\n",
    "redis-password": "redis-password\n",
    "redis-url": "rediss+cluster://gateway:password@one.example.com:7000,two.example.com:7000\n",
}
