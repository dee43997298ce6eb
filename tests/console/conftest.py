"""Three gateways on one Redis behind an nginx, and a Chromium that looks at a console."""

import contextlib
import json
import pathlib
import shutil
import sys
import urllib.parse

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "observability"), str(TESTS / "e2e"), str(TESTS / "chart")]

from fleet import KEY, Redis, Replica, Upstream  # noqa: E402
from own import Look  # noqa: E402
from playwright.sync_api import expect, sync_playwright  # noqa: E402
from nginx import Site  # noqa: E402

MODULES = pathlib.Path(__file__).with_name("node_modules")
OPUS, FLASH = "claude-opus-4-6-thinking", "gemini-3-flash"
PASSWORD = "correct horse battery"


class Fleet:
    """Replicas on one Redis, and the address at which a balancer has them and the reference's console."""

    def __init__(self, stack, folder, accounts=5, replicas=3, settings=None, scenario=None, **variables):
        def child(started):
            stack.callback(started.stop)
            return started

        self.upstream = child(Upstream(folder, [OPUS, FLASH], accounts=accounts, remaining_fraction=0.8))
        if scenario:
            self.upstream.call("PUT", "/sim/scenario", scenario)
        self.redis = Redis(folder)
        stack.callback(self.redis.kill)
        self.environment = {
            # One home, as if one person had started them all.
            "HOME": str(folder),
            "WEBUI_PASSWORD": PASSWORD,
            "TRUSTED_PROXIES": "127.0.0.1",
            # The health inspector is for developers.
            "DEV_MODE": "true",
            "OAUTH_AUTH_URL": self.upstream.url + "/auth",
            "OAUTH_USERINFO_URL": self.upstream.url + "/userinfo",
        } | variables
        self.replicas = []
        for name in "abc"[:replicas]:
            replica = Replica(folder / name, self.upstream, settings or {}, self.redis, **self.environment)
            self.replicas.append(child(replica))
        addresses = [urllib.parse.urlsplit(replica.url).netloc for replica in self.replicas]
        self.site = child(Site(folder / "site", MODULES / "antigravity-claude-proxy/public", addresses))
        self.url = self.site.url
        # By the clients of a test that counts them.
        self.calls = 0

    def ask(self, model, words, **more):
        """A request of a client, by the balancer; the status."""
        return Replica.ask(self, model, words, **more)

    def post(self, *arguments, **more):
        return Replica.post(self, *arguments, **more)


class Pool(Fleet):
    """A fleet with accounts."""

    def __init__(self, stack, folder):
        # What the environment sets, no console can switch.
        super().__init__(stack, folder, DEV_MODE="")
        # The first one signs in by hand: a browser without an account is given it.
        accounts = json.loads(self.upstream.accounts.read_text())
        listed = accounts["accounts"] if isinstance(accounts, dict) else accounts
        self.first, self.others = listed[0]["email"], [one["email"] for one in listed[1:]]
        del listed[0]
        imported = folder / "others.json"
        imported.write_text(json.dumps(accounts))
        self.replicas[0].command("accounts", "import", imported)


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Pool(stack, tmp_path_factory.mktemp("console"))


@pytest.fixture
def fleet(tmp_path_factory):
    """Starts a fleet of the test's own, or several: the arguments are those of `Fleet`."""
    with contextlib.ExitStack() as stack:
        yield lambda **more: Fleet(stack, tmp_path_factory.mktemp("fleet"), **more)


@pytest.fixture(scope="module", autouse=True)
def patience(request):
    # Set when modules are imported, it would be that of the last one for all of them.
    expect.set_options(timeout=getattr(request.module, "PATIENCE_MS", 20_000))


@pytest.fixture(scope="session")
def browser():
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "chromium is not installed: run `make install-deps` first"
    quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-sync", *quiet]
        )
        yield browser
        browser.close()


@pytest.fixture
def look(browser, own):
    """Opens the console, of another gateway with `own=`; closed at the end, when nothing may have gone wrong."""
    opened = []

    def start(**more):
        opened.append(Look(browser, more.pop("own", own), **more))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


__all__ = ["KEY"]
