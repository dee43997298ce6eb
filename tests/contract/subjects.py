"""What is examined: this gateway, the Node.js program it is compatible with, or anything at a base URL."""

import json
import os
import socket
import time

from programs import CLAUDE, DIRECT, PLAIN, Gateway, Process, clean_environment
from wire import Client

REDIRECT = os.path.join(os.path.dirname(__file__), "redirect.mjs")


class Remote:
    """Something that runs already; its upstream cannot be told to fail."""

    name = "remote"

    def __init__(self, url, key):
        model = os.environ.get("MODEL", PLAIN)
        self.client = Client(url, key, model, os.environ.get("THINKING_MODEL", CLAUDE))

    def stop(self):
        """It is not ours to end."""


class Ours:
    """A gateway of its own for every situation."""

    name = "ours"

    def __init__(self, folder, simulator, accounts=True):
        self.process = Gateway(folder, simulator, accounts)
        self.client = Client(self.process.url, "test-key", PLAIN, CLAUDE)

    def stop(self):
        assert self.process.stop() == 0


class Reference:
    """npm's `antigravity-claude-proxy`, installed below the directory that `REFERENCE` names."""

    name = "reference"

    def __init__(self, folder, simulator, accounts=True):
        program = os.path.join(os.environ["REFERENCE"], "node_modules/antigravity-claude-proxy/src/index.js")
        home = folder / "home" / ".config" / "antigravity-proxy"
        home.mkdir(parents=True)
        (home / "accounts.json").write_text(json.dumps(self.accounts(simulator) if accounts else {"accounts": []}))
        port = free_port()
        environment = clean_environment(
            HOME=str(folder / "home"), PORT=str(port), SIMULATOR_URL=simulator.url, HOST="127.0.0.1"
        )
        with open(folder / "reference.out", "wb") as out:
            command = ["node", "--import", REDIRECT, program]
            self.process = Process(command, environment, folder / "reference.log", stdout=out)
        self.client = Client(f"http://127.0.0.1:{port}", None, PLAIN, CLAUDE)
        try:
            self.wait(f"http://127.0.0.1:{port}/")
        except BaseException:
            self.process.stop()
            raise

    @staticmethod
    def accounts(simulator):
        known = simulator.call("GET", "/sim/scenario")["accounts"]
        accounts = [
            {
                "email": one["email"],
                "source": "oauth",
                "refreshToken": one["refresh_token"],
                "projectId": one["project"],
                "enabled": True,
            }
            for one in known
        ]
        return {"accounts": accounts, "settings": {}, "activeIndex": 0}

    def wait(self, url):
        deadline = time.monotonic() + 30
        while True:
            try:
                return DIRECT.open(url, timeout=5).close()
            except OSError as failure:
                gone = self.process.child.poll() is not None
                if gone or time.monotonic() > deadline:
                    raise AssertionError("the reference does not serve") from failure
                time.sleep(0.05)

    def stop(self):
        self.process.stop(5)


def free_port():
    """The reference cannot choose a port by itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
