"""Starts the built gateway in front of the built simulator, once per test session, on free ports."""

import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("AGP_BIN_DIR", ROOT / "target" / "debug"))
MODULES = ROOT / "tests" / "e2e" / "node_modules"

CLAUDE = "claude-opus-4-6-thinking"
GEMINI = "gemini-3-flash"
PLAIN = "claude-sonnet-4-6"


def clean_environment(**extra):
    """The variables a child needs and nothing that would configure it behind the test's back."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | extra


def http(method, url, body=None, headers=None, timeout=10):
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        text = answer.read()
        return answer.status, json.loads(text) if text else None


def wait_until(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not seen within {seconds} s: {what}")


class Process:
    """A child that is ended by its own handle."""

    def __init__(self, args, env, log):
        self.log = open(log, "wb")
        self.child = subprocess.Popen(
            [str(arg) for arg in args], env=env, stdout=subprocess.PIPE, stderr=self.log, cwd=log.parent
        )

    def first_json_line(self):
        for line in self.child.stdout:
            if line.startswith(b"{"):
                return json.loads(line)
        raise AssertionError(f"ended before it was ready: {self.log.name}")

    def stop(self, seconds=20):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        code = self.child.wait(seconds)
        self.child.stdout.close()
        self.log.close()
        return code


class Simulator(Process):
    def __init__(self, folder, *flags):
        self.accounts = folder / "accounts.json"
        args = [BIN / "cloudcode-sim", "--port", "0", "--accounts", "3", "--write-accounts", self.accounts]
        super().__init__([*args, *flags], clean_environment(), folder / "simulator.log")
        self.url = self.first_json_line()["baseUrl"]

    def get(self, path):
        return http("GET", self.url + path, timeout=15)[1]

    def post(self, path, body=None):
        return http("POST", self.url + path, body, {"content-type": "application/json"})[1]


class Gateway(Process):
    def __init__(self, folder, simulator, **settings):
        self.environment = clean_environment(
            HOST="127.0.0.1",
            PORT="0",
            METRICS_ADDR="",
            DATA_DIR=str(folder / "data"),
            CLOUDCODE_ENDPOINTS=simulator.url,
            OAUTH_TOKEN_URL=simulator.url + "/token",
            OAUTH_CLIENT_ID="test-client",
            OAUTH_CLIENT_SECRET="test-secret",
            LOG_FORMAT="json",
            API_KEY="test-key",
            **settings,
        )
        self.command("accounts", "import", simulator.accounts)
        super().__init__([BIN / "antigravity-proxy"], self.environment, folder / "gateway.log")
        self.url = self.first_json_line()["url"]

    def command(self, *args):
        done = subprocess.run(
            [str(BIN / "antigravity-proxy"), *map(str, args)], env=self.environment, capture_output=True, timeout=60
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@pytest.fixture(scope="session")
def simulator(tmp_path_factory):
    child = Simulator(tmp_path_factory.mktemp("simulator"))
    yield child
    assert child.get("/sim/refusals") == [], "the strict simulator refused something"
    child.stop()


@pytest.fixture(scope="session")
def gateway(simulator, tmp_path_factory):
    child = Gateway(tmp_path_factory.mktemp("gateway"), simulator)
    yield child
    assert child.stop() == 0
