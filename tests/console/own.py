"""The console of this repository: a gateway that serves `public/` from disk, Google simulated, and what a page complains of."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request

from fleet import KEY, Process, Redis, Replica, Simulator, until
from nginx import Site
from playwright.sync_api import expect
from programs import BIN, CLAUDE, DIRECT, GEMINI, ROOT, clean_environment

PASSWORD = "correct horse battery"
PUBLIC = ROOT / "public"
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
SHOWN = ROOT / "src/simulator/scenarios/demo.json"
DEMO = ROOT / ".cache/console-demo.json"
PAGES = ["overview", "live", "requests", "usage", "capacity", "accounts", "keys", "fleet", "logs", "connect", "settings", "audit"]


def still():
    """The first eight accounts of the demo with the two models that tests ask for, and nothing that happens by itself."""
    shown = json.loads(SHOWN.read_text())
    for account in shown["accounts"]:
        for model in account.get("models", []):
            model.pop("cost", None)
        if "models" in account:
            account["models"] = [one for one in account["models"] if one["id"] in (CLAUDE, GEMINI)]
    return {"accounts": shown["accounts"][:8]}


# Always the same, and at once, so it does not matter who writes it when several do.
DEMO.parent.mkdir(exist_ok=True)
_written = DEMO.with_suffix(f".{os.getpid()}")
_written.write_text(json.dumps(still()))
_written.replace(DEMO)


DRAWN = """async () => {
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    const ends = document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime !== Infinity);
    await Promise.allSettled(ends.map((one) => one.finished));
}"""


def call(own, method, path, body=None):
    """What the API of a gateway says, past the browser."""
    headers = {"x-webui-password": PASSWORD, "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with DIRECT.open(urllib.request.Request(own.url + path, data, headers, method=method), timeout=60) as answer:
        return json.load(answer)


def account(own, email):
    """What a gateway knows of it; None where it knows none."""
    return next((one for one in call(own, "GET", "/api/accounts")["accounts"] if one["email"] == email), None)


class Stay(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else."""

    def redirect_request(self, *_):
        return None


def sign_in_at_google(url, email=None):
    """What a person does in the window: where their browser ends up, without going there."""
    hint = f"&login_hint={urllib.parse.quote(email)}" if email else ""
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay).open(url + hint, timeout=30)
    except urllib.error.HTTPError as answer:
        return answer.headers["location"]
    raise AssertionError("Google sends the browser back")


def surveyed(own):
    """Waits until something is known of each account: right after the start nobody has asked for it yet."""

    def known():
        return all(one["status"] != "error" for one in call(own, "GET", "/account-limits")["accounts"])

    until("accounts are asked for", known)
    return own


def logged(own, *words):
    """Waits for a request's line with each of these words: it is written a moment after the answer."""
    path = "/api/logs?limit=1000&q=" + urllib.parse.quote("/v1/messages ")
    for word in words:
        until(f"{word} is in the log", lambda: any(word in line["message"] for line in call(own, "GET", path)["logs"]))


def counted(own, *models):
    """Waits until the usage tells of each of these models."""
    until("it is counted", lambda: set(models) <= {row["model"] for row in call(own, "GET", "/api/usage?groupBy=model")["usage"]})


class Google(Simulator):
    """Google's stand-in with a scenario of its own."""

    def __init__(self, folder, scenario):
        self.accounts = folder / "accounts.json"
        args = [BIN / "cloudcode-sim", "--scenario", scenario, "--write-accounts", self.accounts]
        Process.__init__(self, args, clean_environment(), folder / "simulator.log")
        self.url = self.ready()["baseUrl"]


class Own:
    """A gateway with the console, and accounts in many states; `variables` are more of its environment. With `peer` there
    is a balancer, at which each request goes to the next replica, and which says that it comes from there."""

    def __init__(self, stack, folder, scenario=DEMO, replicas=1, accounts=True, peer=None, **variables):
        def child(started):
            stack.callback(started.stop)
            return started

        self.google = child(Google(folder, scenario))
        redis = None
        if replicas > 1:
            redis = Redis(folder)
            stack.callback(redis.kill)
        environment = {"HOME": str(folder), "PUBLIC_DIR": str(PUBLIC), "WEBUI_PASSWORD": PASSWORD} | variables
        if peer:
            environment["TRUSTED_PROXIES"] = "127.0.0.1"
        self.replicas = []
        for name in "abc"[:replicas]:
            google = {"OAUTH_AUTH_URL": self.google.url + "/auth", "OAUTH_USERINFO_URL": self.google.url + "/userinfo"}
            replica = Replica(folder / name, self.google, {}, redis, **google, **environment)
            self.replicas.append(child(replica))
            if accounts and name == "a":
                replica.command("accounts", "import", self.google.accounts)
        self.url = self.replicas[0].url
        if peer:
            gateways = [urllib.parse.urlsplit(replica.url.replace("0.0.0.0", "127.0.0.1")).netloc for replica in self.replicas]
            self.site = child(Site(folder / "site", None, gateways, peer))
            self.url = self.site.url

    def ask(self, model, words="hello", **more):
        """A request of a client; the status."""
        return self.replicas[0].ask(model, words, **more)


class Look:
    """A page of the console, and what went wrong in it: nothing may."""

    def __init__(self, browser, own, width=1440, height=900, theme="light", language="en-GB", log_in=True):
        self.own = own
        self.complaints = []
        # What is no complaint from now on: words of it.
        self.forgiven = []
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, locale=language, reduced_motion="reduce"
        )
        self.page = self.context.new_page()
        self.page.on("console", lambda message: message.type in ("error", "warning") and self.say(message.text))
        self.page.on("pageerror", lambda error: self.say(f"error: {error}"))
        self.page.on("response", lambda answer: answer.status >= 400 and self.say(f"{answer.status} {answer.url}"))
        self.page.on("requestfailed", self.failed)
        self.context.expose_binding("complain", lambda _, text: self.say(text))
        self.context.add_init_script(
            "addEventListener('securitypolicyviolation', e => complain(`policy: ${e.violatedDirective} ${e.blockedURI}`))"
        )
        self.page.goto(own.url)
        if log_in:
            self.page.get_by_label("Password", exact=True).fill(PASSWORD)
            self.page.get_by_role("button", name="Log in").click()
            self.page.get_by_role("navigation").first.wait_for()

    def say(self, text):
        if not any(word in text for word in self.forgiven):
            self.complaints.append(text)

    def forgive(self, *words):
        """That something was refused is what was tested: complaints with one of the words are none, and there are no others.
        The last of them may still be on its way."""
        self.forgiven += words
        others = [one for one in self.complaints if not any(word in one for word in words)]
        assert others == [], json.dumps(others, indent=1)
        self.complaints.clear()

    def failed(self, request):
        # What a page had asked for when it was left, and a stream that was closed, are no failures.
        if request.failure != "net::ERR_ABORTED":
            self.say(f"failed: {request.url} {request.failure}")

    def go(self, page, **query):
        """Opens a page and waits until what it shows is there."""
        tail = "?" + urllib.parse.urlencode(query) if query else ""
        self.page.goto(f"{self.own.url}/#/{page}{tail}")
        self.page.locator(f"page-{page} h1").wait_for(state="attached")
        expect(self.page.locator("main .skeleton")).to_have_count(0)
        return self.page.locator(f"page-{page}")

    def live(self):
        """Waits until the page is told what happens: what happened before is seen only when it is asked for again."""
        expect(self.page.locator(".top .connection").get_by_text("Live", exact=True)).to_be_visible()

    def unseen(self):
        """As in a tab that is not looked at: nothing is asked for any more unless it is wished for."""
        self.page.evaluate("""() => {
            Object.defineProperty(document, 'hidden', { get: () => true });
            document.dispatchEvent(new Event('visibilitychange'));
        }""")
        expect(self.page.locator(".top .turning")).to_have_count(0)

    def axe(self, within=None):
        """What axe finds wrong, by WCAG 2.2 AA and its best practices: of the whole page, or of what is in there."""
        if not self.page.evaluate("'axe' in window"):
            # By the debugger, for which the page's policy does not count.
            self.page.evaluate(AXE.read_text() + "; undefined")
        # Drawn as it is now: no colour is on its way to another.
        self.page.evaluate(DRAWN)
        found = self.page.evaluate("within => axe.run(within ?? document, { resultTypes: ['violations'] })", within)
        return [
            f"{violation['id']}: {node['target']} {node.get('failureSummary', '')}"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]

    def everywhere(self, within=None):
        """The same wide and light, narrow and dark; and nothing is wider than its window."""
        wrong = []
        for width, theme in [(1440, "light"), (390, "dark")]:
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            wrong += [f"{width} px, {theme}: {found}" for found in self.axe(within)]
            if self.overflow() > 0:
                wrong.append(f"{width} px: wider than the window")
        self.page.set_viewport_size({"width": 1440, "height": 900})
        self.page.emulate_media(color_scheme="light", reduced_motion="reduce")
        return wrong

    def overflow(self):
        """How many px the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")

    def close(self):
        self.context.close()
        assert self.complaints == [], json.dumps(self.complaints, indent=1)


__all__ = ["KEY", "PAGES", "PASSWORD", "Look", "Own", "account", "call", "counted", "logged", "sign_in_at_google", "surveyed"]
