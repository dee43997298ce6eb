"""A gateway with a pool, client keys and a console password in front of the simulator."""

import json
import pathlib
import sys
import tomllib
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

from programs import DIRECT, Gateway, Simulator  # noqa: E402

CONFIG = tomllib.loads((pathlib.Path(__file__).parent / "schemathesis.toml").read_text())
PASSWORD = CONFIG["auth"]["openapi"]["consolePassword"]["api_key"]


def named(kind):
    """What the cases name: the values of all dictionaries of that kind."""
    return [value for name, one in CONFIG["dictionaries"].items() if kind in name for value in one["values"]]


ACCOUNTS = named("accounts")
KEYS = named("keys")
PRESETS = named("presets")


class Console:
    """The operator's API of one gateway."""

    def __init__(self, url):
        self.url = url

    def call(self, method, path, body=None, password=PASSWORD, **more):
        """Status and answer."""
        headers = {"content-type": "application/json"} | ({"x-webui-password": password} if password else {}) | more
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        try:
            with DIRECT.open(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.load(refusal)


@pytest.fixture(scope="session")
def console(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    simulator = Simulator(folder, accounts=len(ACCOUNTS))
    try:
        gateway = Gateway(
            folder,
            simulator,
            WEBUI_PASSWORD=PASSWORD,
            DEV_MODE="true",
            CLAUDE_CLI_MODE="local",
            CLAUDE_CONFIG_PATH=str(folder / "claude"),
        )
        try:
            prepared = Console(gateway.url)
            for name in KEYS:
                assert prepared.call("POST", "/api/keys", {"name": name})[0] == 201
            for name in PRESETS:
                preset = {"name": name, "config": {"maxRetries": 3}}
                assert prepared.call("POST", "/api/server/presets", preset)[0] == 200
            listed = prepared.call("GET", "/api/accounts")[1]["accounts"]
            assert [account["email"] for account in listed] == ACCOUNTS
            yield prepared
        finally:
            code = gateway.stop()
        assert code == 0, (folder / "gateway.log").read_text(errors="replace")[-4000:]
    finally:
        simulator.stop()
