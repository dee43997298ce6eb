"""An install without a cluster: the processes of the README's values file, started with what the chart renders.

The store is a Redis with the arguments of the release's Valkey; Google is simulated. Import, two replicas, the release's
test, a key for a client, and one replica's end as a rolling update brings it about.
"""

import json
import signal

import pytest
import yaml
from chart import BINARY, CHART, Release, at, over
from node import SOON, Node, process, status, until


@pytest.fixture
def upstream(tmp_path):
    """Where Google is; its accounts are in a file of the release's machine."""
    accounts = tmp_path / "accounts.json"
    with process([BINARY.parent / "cloudcode-sim", "--accounts", "3", "--write-accounts", accounts]) as simulator:
        url = json.loads(simulator.stdout.readline())["baseUrl"]
        yield {"CLOUDCODE_ENDPOINTS": url, "OAUTH_TOKEN_URL": f"{url}/token"}


@pytest.fixture
def node(tmp_path, upstream):
    values = yaml.safe_load((CHART / "ci/readme-values.yaml").read_text())
    node = Node(Release(over(values, at("shutdown.drainDelayMs", 2000))), tmp_path, upstream)
    with node.valkey():
        until("the store listens", (tmp_path / "redis.sock").exists)
        yield node


def imported(node):
    """The hook that imports, and its arguments, after it ran."""
    hook = node.release.one("Job", "-import")["spec"]["template"]["spec"]["containers"][0]
    imports = [arg.replace("/run/accounts", str(node.folder)) for arg in hook["args"]]
    # It may come before the store serves; the Job tries again.
    until("the accounts are imported", lambda: (ended := node.run(hook, "import", imports)).returncode == 0
          and "3 added" in ended.stdout)  # fmt: skip
    return hook, imports


def test_pods_with_another_encryption_key_do_not_start(node):
    hook, imports = imported(node)
    (node.folder / "encryption-keys").write_text("B" * 42 + "A=")
    for container, args in [(hook, imports), (node.release.gateway, ["serve"])]:
        ended = node.run(container, "other", args)
        assert ended.returncode == 78 and "put the missing key behind the others" in ended.stderr, ended.stderr


def test_a_pod_starts_though_an_entry_of_its_accounts_is_bad(tmp_path, upstream):
    values = yaml.safe_load((CHART / "ci/embedded-accounts-values.yaml").read_text())
    release = Release(over(values, at("oauth.existingSecret", "oauth")))
    node = Node(release, tmp_path, upstream)
    accounts = json.loads((tmp_path / "accounts.json").read_text())
    entries = accounts if isinstance(accounts, list) else accounts["accounts"]
    (tmp_path / "accounts.json").write_text(json.dumps([*entries, {"email": "bad@example.com"}]))
    first = release.pod["initContainers"][0]
    imports = [arg.replace("/run/accounts", str(tmp_path)) for arg in first["args"]]
    # Every start of the pod runs it, on the same volume as the gateway.
    for said in ("failed   bad@example.com: Missing refresh_token or api_key\n3 added, 0 updated, 1 failed\n",
                 "imported before: nothing to do\n"):  # fmt: skip
        ended = node.run(first, "pod", imports)
        assert ended.returncode == 0 and ended.stdout.endswith(said), ended.stdout + ended.stderr
    request = release.one("Pod", "-test")["spec"]["containers"][0]
    with node.gateway("pod") as (_, addresses):
        args = [addresses["url"] if arg.startswith("http://") else arg for arg in request["args"]]
        answered = node.run(request, "test", args)
        assert answered.returncode == 0, answered.stderr


def test_an_install_ends_in_a_served_request(node):
    release = node.release
    hook, imports = imported(node)
    # The next upgrade's hook.
    again = node.run(hook, "import", imports)
    assert (again.returncode, again.stdout) == (0, "imported before: nothing to do\n"), again.stderr

    request = release.one("Pod", "-test")["spec"]["containers"][0]
    assert release.one("Deployment")["spec"]["replicas"] == 2
    with node.gateway("one") as (leaving, first), node.gateway("two") as (_, second):
        for addresses in (first, second):
            args = [addresses["url"] if arg.startswith("http://") else arg for arg in request["args"]]
            answered = node.run(request, "test", args)
            assert answered.returncode == 0, answered.stderr
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert status(addresses["metricsUrl"] + release.gateway[probe]["httpGet"]["path"]) == 200

        # As the notes say it, beside the chart's own key.
        made = node.run(release.gateway, "two", ["keys", "create", "ada"])
        assert made.returncode == 0 and made.stdout.startswith("agp_"), made.stderr
        listed = json.loads(node.run(release.gateway, "two", ["keys", "list", "--json"]).stdout)
        assert [key["name"] for key in listed["keys"]] == ["default", "ada"]

        # A rolling update: the hook, then SIGTERM, all within the grace period.
        hook = release.gateway["lifecycle"]["preStop"]["exec"]["command"]
        assert hook[0] == "antigravity-proxy"
        env = node.environment(release.gateway, "one")
        with process([BINARY, *hook[1:]], env=env, cwd=node.folder / "one") as drain:
            until("it is no longer ready", lambda: status(first["metricsUrl"] + "/readyz") == 503)
            assert drain.poll() is None, "the hook waits for those who have not noticed"
            assert status(first["url"] + "/livez") == 200
            assert drain.wait(SOON) == 0
        leaving.send_signal(signal.SIGTERM)
        assert leaving.wait(SOON) == 0
        # The other one goes on.
        args = [second["url"] if arg.startswith("http://") else arg for arg in request["args"]]
        assert node.run(request, "test", args).returncode == 0
