"""The built gateway and the built simulator as children, on free ports."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import threading
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("AGP_BIN_DIR", ROOT / "target" / "debug"))
MODULES = ROOT / "tests" / "e2e" / "node_modules"

CLAUDE = "claude-opus-4-6-thinking"
GEMINI = "gemini-3-flash"
PLAIN = "claude-sonnet-4-6"

# Nothing here may ask a proxy of the machine for the way to loopback.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def clean_environment(**extra):
    """The variables a child needs and nothing that would configure it behind the test's back."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | extra


class Process:
    """A child that is ended by its own handle."""

    def __init__(self, args, env, log, stdout=subprocess.PIPE):
        self.log = open(log, "wb")
        self.child = subprocess.Popen(
            [str(arg) for arg in args], env=env, stdout=stdout, stderr=self.log, cwd=log.parent
        )

    def ready(self, seconds=30):
        """The JSON line a child prints when it serves; one that does not get there is ended."""
        impatience = threading.Timer(seconds, self.child.kill)
        impatience.start()
        try:
            line = self.child.stdout.readline()
        finally:
            impatience.cancel()
        if not line:
            self.stop()
            raise AssertionError("not ready: " + pathlib.Path(self.log.name).read_text(errors="replace"))
        return json.loads(line)

    def stop(self, seconds=20):
        """Ends the child as a service manager would; its exit code."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait()
        finally:
            if self.child.stdout:
                self.child.stdout.close()
            self.log.close()


class Simulator(Process):
    """The stand-in for Google's services and its control interface."""

    def __init__(self, folder, accounts=3):
        self.accounts = folder / "accounts.json"
        args = [BIN / "cloudcode-sim", "--accounts", accounts, "--write-accounts", self.accounts]
        super().__init__(args, clean_environment(), folder / "simulator.log")
        self.url = self.ready()["baseUrl"]

    def call(self, method, path, body=None, timeout=15):
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        with DIRECT.open(request, timeout=timeout) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def requests(self, path="", after=0):
        return self.call("GET", f"/sim/requests?path={path}&after={after}")

    def last_request(self):
        """The number of the newest request, to ask for those that follow."""
        return self.call("GET", "/sim/connections")["requests"]

    def refusals(self):
        return [one["refusal"] for one in self.call("GET", "/sim/refusals")]

    @contextlib.contextmanager
    def fault(self, when, then):
        self.call("POST", "/sim/faults", {"when": when, "then": then})
        try:
            yield
        finally:
            self.call("DELETE", "/sim/faults")


class Gateway(Process):
    """The gateway with an empty data directory, its accounts, if it shall have any, imported by its own command."""

    def __init__(self, folder, simulator, accounts=True, **settings):
        self.environment = clean_environment(
            HOME=str(folder),
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
        if accounts:
            self.command("accounts", "import", simulator.accounts)
        super().__init__([BIN / "antigravity-proxy"], self.environment, folder / "gateway.log")
        self.url = self.ready()["url"]

    def command(self, *args):
        command = [str(BIN / "antigravity-proxy"), *map(str, args)]
        done = subprocess.run(command, env=self.environment, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()
