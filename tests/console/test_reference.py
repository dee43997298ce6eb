"""The reference's own console, as its package has it, on three replicas behind a balancer that knows no stickiness.

The package is the only one its registry has, and older than the reference whose answers we give (`http-api.md`). Its pages
have nothing for a pasted address, for exports and imports, thresholds, strategies and presets of the server: these are asked
for by the pages' own `utils.request`, as the newer pages do. Everything else is clicked.
"""

import functools
import json
import re
import urllib.parse

import pytest
from conftest import FLASH, KEY, MODULES, OPUS, PASSWORD
from fleet import until
from playwright.sync_api import expect

CDN = "https://cdn.jsdelivr.net/npm/"
SCRIPTS = {
    CDN + "chart.js": MODULES / "chart.js/dist/chart.umd.js",
    CDN + "alpinejs@3.x.x/dist/cdn.min.js": MODULES / "alpinejs/dist/cdn.min.js",
}
# Without a graphics processor, what glows and turns takes longer than everything that is tested.
STILL = """addEventListener('DOMContentLoaded', () => {
    const style = document.createElement('style');
    style.textContent = '*, ::before, ::after { animation: none !important; transition: none !important; '
        + 'backdrop-filter: none !important; }';
    document.head.append(style);
})"""
CLAUDE = "Alpine.$data(document.querySelector('[x-data=claudeConfig]'))"

PATIENCE_MS = 30_000


class Console:
    """A page with the console as in a browser that knows this password, and what it complained of."""

    def __init__(self, context, pool, password=None):
        self.pool = pool
        self.complaints = []
        self.page = context.new_page()
        known = {} if password is None else {"antigravity_webui_password": password}
        self.page.add_init_script(f"localStorage.clear(); Object.assign(localStorage, {json.dumps(known)});")
        self.page.on("console", self.said)
        self.page.on("pageerror", self.failed)
        self.page.on("response", self.answered)

    def said(self, message):
        # It draws with a delay, and complains when its view has been left by then.
        if message.type == "error" and "Canvas not ready" not in message.text:
            self.complaints.append(f"console: {message.text}")

    def failed(self, error):
        # Two of its own expressions have a quote too many.
        if error.message != "Invalid or unexpected token":
            self.complaints.append(f"error: {error}")

    def answered(self, response):
        if response.status >= 400:
            self.complaints.append(f"{response.status} {response.request.method} {urllib.parse.urlsplit(response.url).path}")

    def open(self):
        self.page.goto(self.pool.url)
        expect(self.page.get_by_text("ONLINE", exact=True)).to_be_visible()
        self.page.wait_for_function("!Alpine.store('data').initialLoad")

    def go(self, view):
        """Opens a view; where it is."""
        self.page.locator("nav button").filter(has_text=re.compile(f"^\\s*{view}\\s*$")).click()
        return self.page.locator(f"[x-load-view=\"'{view.lower()}'\"]")

    def tab(self, name):
        """Opens a tab of the settings; where they are."""
        settings = self.go("Settings")
        settings.locator("button").filter(has_text=re.compile(f"^\\s*{name}\\s*$")).click()
        return settings

    def toast(self, text):
        expect(self.page.locator(".alert").filter(has_text=text)).to_be_visible()

    def row(self, email):
        """An account's row; the page shortens long addresses, its tip does not."""
        accounts = self.page.locator("[x-data=accountManager] tbody tr")
        return accounts.filter(has=self.page.locator(f".tooltip-right[data-tip='{email}']"))

    def request(self, method, path, body=None):
        """What the page's own request wrapper gets: its status and body."""
        status, text = self.page.evaluate(
            """async ([method, path, body]) => {
                const options = { method };
                if (body !== null) {
                    options.headers = { 'Content-Type': 'application/json' };
                    options.body = JSON.stringify(body);
                }
                const password = Alpine.store('global').webuiPassword;
                const { response } = await window.utils.request(path, options, password);
                return [response.status, await response.text()];
            }""",
            [method, path, body],
        )
        assert status == 200, f"{status} {text}"
        return json.loads(text)

    def everywhere(self, what, path, holds):
        """Waits until every replica answers as wanted: six answers are from all of three."""
        until(what, lambda: all(holds(self.request("GET", path)) for _ in range(6)), 30)

    def configured(self, name, value):
        self.everywhere(f"{name} is {value}", "/api/config", lambda answer: answer["config"][name] == value)

    def refresh(self):
        self.page.evaluate("Alpine.store('data').fetchData()")

    def accounts(self):
        """Accounts by e-mail, as the console's store has them."""
        self.refresh()
        return {one["email"]: one for one in self.page.evaluate("Alpine.store('data').accounts")}


def serve(file, route):
    route.fulfill(path=file, content_type="text/javascript")


@pytest.fixture(scope="module")
def context(browser):
    context = browser.new_context(viewport={"width": 1400, "height": 900}, locale="en-US")
    context.set_default_timeout(30_000)
    context.add_init_script(STILL)
    for address, file in SCRIPTS.items():
        context.route(address, functools.partial(serve, file))
    yield context
    context.close()


@pytest.fixture
def console(context, pool):
    """Open, with its password known; nothing may have gone wrong by the end."""
    console = Console(context, pool, PASSWORD)
    try:
        console.open()
        yield console
        assert console.complaints == []
    finally:
        console.page.close()


@pytest.fixture
def stranger(context, pool):
    """Not open yet; its password is not known."""
    console = Console(context, pool)
    yield console
    console.page.close()


def test_it_asks_for_the_password(stranger, pool):
    console, asked = stranger, []

    def answer(dialog):
        asked.append(dialog.message)
        dialog.accept("wrong" if len(asked) == 1 else PASSWORD)

    console.page.on("dialog", answer)
    console.page.goto(pool.url)
    console.toast("Connection Lost")
    assert asked == ["Enter Web UI Password:"]
    assert console.page.evaluate("Alpine.store('data').accounts") == []
    console.page.get_by_label("Refresh data").click()
    expect(console.page.locator("[x-text='stats.total']")).to_have_text(re.compile("[1-9]"))
    assert len(asked) == 2
    # The stream of the logs, refused until now, is tried again by itself.
    expect(console.go("Logs").locator("#logs-container [x-html]").first).to_be_visible()
    # It was never told anything but that.
    assert [one for one in console.complaints if "401" not in one] == []


def test_all_five_views(console):
    for view, heading in [
        ("Models", "MODEL IDENTITY"),
        ("Accounts", "Account Management"),
        ("Logs", "~/logs"),
        ("Settings", "System Configuration"),
        ("Dashboard", "Request Volume"),
    ]:
        expect(console.go(view).get_by_text(heading)).to_be_visible()
    for figure in ("stats.total", "stats.active"):
        expect(console.page.locator(f"[x-text='{figure}']")).to_have_text(re.compile("[1-9]"))
    assert {OPUS, FLASH} <= set(console.page.evaluate("Alpine.store('data').models"))
    version = console.page.evaluate("Alpine.store('global').version")
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", version)


def test_requests_are_spread(console, pool):
    for _ in range(6):
        console.refresh()

    def gateways():
        return {gateway for _, path, _, gateway in pool.site.served() if path == "/account-limits"}

    # The balancer writes its line when the answer has gone.
    until("each of three was asked", lambda: len(gateways()) == 3, 30)


def test_models_have_quotas_and_are_pinned_and_hidden(console):
    models = console.go("Models")
    row = models.locator("tbody tr").filter(has_text=FLASH)
    expect(row).to_contain_text("80%")
    models.get_by_role("button", name="CLAUDE", exact=True).click()
    expect(row).to_have_count(0)
    models.get_by_role("button", name="GEMINI", exact=True).click()
    expect(row).to_be_visible()

    def told(name, value):
        console.everywhere(
            f"{name} is {value}", "/account-limits",
            lambda answer: answer["modelConfig"].get(FLASH, {}).get(name, False) is value,
        )  # fmt: skip

    for pinned, button in ((True, f"Pin model {FLASH} to top"), (False, f"Unpin model {FLASH}")):
        models.get_by_label(button).click()
        told("pinned", pinned)
    models.get_by_label(f"Hide model {FLASH}").click()
    expect(row).to_have_count(0)
    told("hidden", True)
    settings = console.tab("Models")
    kept = settings.locator("tbody tr").filter(has_text=FLASH)
    expect(kept).to_be_hidden()
    settings.get_by_label("Show hidden models toggle").locator("xpath=..").click()
    kept.get_by_title("Toggle Visibility").click()
    told("hidden", False)
    console.go("Models")
    expect(row).to_be_visible()


def test_a_model_is_mapped_to_another(console, pool):
    row = console.tab("Models").locator("tbody tr").filter(has_text=FLASH)

    def mapped(target):
        console.everywhere(
            f"{FLASH} is mapped to {target}", "/account-limits",
            lambda answer: answer["modelConfig"].get(FLASH, {}).get("mapping") == target,
        )  # fmt: skip
        before = pool.upstream.last_request()
        assert pool.ask(FLASH, "hello") == 200
        asked = pool.upstream.requests("/v1internal:streamGenerateContent", before)
        assert [one["body"]["model"] for one in asked] == [target or FLASH]

    target = row.locator("[x-text^='config.mapping']")
    target.click()
    row.get_by_role("textbox").fill(OPUS)
    row.get_by_title("Save").click()
    expect(target).to_have_text(OPUS)
    mapped(OPUS)
    target.click()
    row.get_by_title("Clear mapping").click()
    expect(target).not_to_have_text(OPUS)
    mapped(None)


def test_an_account_signs_in_by_a_pasted_address(console, context, pool):
    # Nobody listens where the browser is sent to, as with replicas in a cluster.
    context.route(re.compile(r"^http://localhost:\d+/oauth-callback"), lambda route: route.fulfill(body="nobody"))
    console.go("Accounts").get_by_role("button", name="Add Account").click()
    with context.expect_page() as opened:
        console.page.get_by_role("button", name="Connect Google Account").click()
    opened.value.wait_for_url(re.compile("oauth-callback"))
    waiting = console.page.locator("#oauth_progress_modal.modal-open")
    expect(waiting).to_be_visible()
    address = opened.value.url
    state = urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)["state"][0]
    answer = console.request("POST", "/api/auth/complete", {"callbackInput": address, "state": state})
    assert answer["status"] == "ok" and answer["email"] == pool.first
    # It asks for the accounts until there is one more; that it calls it renewed is its own mistake, as it takes the click on
    # the button for an address.
    console.toast(re.compile("successfully"))
    expect(waiting).to_have_count(0)
    expect(console.row(pool.first)).to_be_visible()
    # It is heard of while a page is asked for something.
    until("its window is closed", lambda: console.page.evaluate("1") and opened.value.is_closed(), 30)


def test_an_account_is_found(console, pool):
    accounts = console.go("Accounts")
    for email in pool.others:
        expect(console.row(email)).to_be_visible()
    sought = accounts.get_by_label("Search accounts...")
    sought.fill(pool.others[1].partition("@")[0])
    expect(console.row(pool.others[0])).to_have_count(0)
    for shown in ("oauth", "80%", "OK"):
        expect(console.row(pool.others[1])).to_contain_text(shown)
    sought.press("Escape")
    expect(console.row(pool.others[0])).to_be_visible()


def test_an_account_is_switched_off_and_on(console, pool):
    email = pool.others[0]
    console.go("Accounts")
    for enabled, word in ((False, "disabled"), (True, "enabled")):
        console.row(email).locator("label").click()
        console.toast(f"Account {email} {word}")
        for _ in range(3):
            assert console.accounts()[email]["enabled"] is enabled
        expect(console.row(email).get_by_role("checkbox")).to_be_checked(checked=enabled)


def test_an_account_is_refreshed_and_all_are_reloaded(console, pool):
    accounts, email = console.go("Accounts"), pool.others[1]
    console.row(email).get_by_title("Refresh").click()
    console.toast(f"Refreshed {email}")
    accounts.get_by_role("button", name="Reload").click()
    console.toast("Accounts reloaded")


def test_accounts_are_exported_deleted_and_imported(console, pool):
    email = pool.others[2]
    exported = console.request("GET", "/api/accounts/export")
    listed = exported["accounts"] if isinstance(exported, dict) else exported
    assert email in {one["email"] for one in listed}
    accounts = console.go("Accounts")
    console.row(email).get_by_title("Delete").click()
    expect(accounts.locator("#delete_account_modal strong")).to_have_text(email)
    accounts.locator("#delete_account_modal .modal-action button").last.click()
    console.toast(f"Deleted {email}")
    expect(console.row(email)).to_have_count(0)
    console.request("POST", "/api/accounts/import", exported)

    def known(answer):
        return all(one["status"] == "ok" for one in answer["accounts"])

    console.everywhere("the accounts have told their models", "/account-limits", known)
    console.page.get_by_label("Refresh data").click()
    expect(console.row(email)).to_contain_text("OK")


def test_thresholds(console, pool):
    email = pool.others[0]
    path = f"/api/accounts/{urllib.parse.quote(email)}"
    console.request("PATCH", path, {"quotaThreshold": 0.25, "modelQuotaThresholds": {OPUS: 0.5}})
    account = console.accounts()[email]
    assert account["quotaThreshold"] == 0.25
    assert account["modelQuotaThresholds"] == {OPUS: 0.5}
    console.request("PATCH", path, {"quotaThreshold": None, "modelQuotaThresholds": {}})
    assert console.accounts()[email].get("quotaThreshold") is None
    console.request("POST", "/api/config", {"globalQuotaThreshold": 0.1})
    console.configured("globalQuotaThreshold", 0.1)
    console.request("POST", "/api/config", {"globalQuotaThreshold": 0})
    console.configured("globalQuotaThreshold", 0)


def test_the_strategy(console):
    # The newer console tells developers what the strategy thinks of the accounts.
    debug = console.tab("Server Settings").get_by_label("Debug mode toggle").locator("xpath=..")
    debug.click()
    console.toast("Debug mode enabled")
    console.configured("devMode", True)
    for strategy in ("round-robin", "hybrid"):
        console.request("POST", "/api/config", {"accountSelection": {"strategy": strategy}})
        console.everywhere(
            f"the strategy is {strategy}", "/api/config",
            lambda answer, strategy=strategy: answer["config"]["accountSelection"]["strategy"] == strategy,
        )  # fmt: skip
        health = console.request("GET", "/api/strategy/health")
        assert health["strategy"] == strategy
        assert bool(health["trackers"]) is (strategy == "hybrid")
    debug.click()
    console.toast("Debug mode disabled")
    console.configured("devMode", False)


def test_settings_of_the_server(console):
    settings = console.tab("Server Settings")
    toggle = settings.get_by_label("Debug mode toggle")
    before = console.request("GET", "/api/config")["config"]["debug"]
    for enabled in (not before, before):
        toggle.locator("xpath=..").click()
        console.toast(f"Debug mode {'enabled' if enabled else 'disabled'}")
        console.configured("debug", enabled)
        expect(toggle).to_be_checked(checked=enabled)
    settings.locator(r"[\@click^='advancedExpanded']").click()
    field = settings.get_by_label("Max retries value")
    before = int(field.input_value())
    field.fill(str(before + 2))
    field.press("Tab")
    console.toast(f"Max Retries updated to {before + 2}")
    console.configured("maxRetries", before + 2)
    slider = settings.get_by_label("Max retries slider")
    for _ in range(2):
        slider.press("ArrowLeft")
    console.toast(f"Max Retries updated to {before}")
    console.configured("maxRetries", before)


def test_tokens_stay_in_the_store(console):
    settings = console.tab("Server Settings")
    toggle = settings.get_by_label("Persist token cache toggle")
    expect(toggle).to_be_checked()
    toggle.locator("xpath=..").click()
    # This cannot be switched off, and what would do nothing is refused.
    console.toast("persistTokenCache has no effect")
    expect(toggle).to_be_checked()
    refused = "Failed to load resource: the server responded with a status of 400 (Bad Request)"
    until("the browser has said so, too", lambda: console.page.evaluate("1") and len(console.complaints) > 1, 30)
    assert sorted(console.complaints) == ["400 POST /api/config", f"console: {refused}"]
    console.complaints.clear()


def choose(settings, model):
    """Chooses Claude Code's model, for which the page may ask for a longer context."""
    field = settings.get_by_label("Primary model selection")
    field.click()
    settings.locator("ul:visible").get_by_text(model, exact=True).click()
    expect(field).to_have_value(re.compile(rf"^{model}(\[1m\])?$"))
    return field.input_value()


def test_presets(console):
    settings = console.tab("Claude CLI")
    chosen = settings.get_by_label("Select preset")
    expect(chosen.locator("option[value='Gemini 1M']")).to_have_count(1)
    # With this it is as in no preset, so it asks before it forgets it.
    choose(settings, FLASH)
    chosen.select_option("Gemini 1M")
    settings.get_by_role("button", name="Load Anyway").click()
    console.toast("Preset loaded")
    expect(settings.get_by_label("Primary model selection")).to_have_value("gemini-3.1-pro-low")

    settings.get_by_role("button", name="Save as Preset").click()
    settings.get_by_label("Preset name").fill("mine")
    # The button below it calls a method of an element, which has none.
    console.page.evaluate(f"{CLAUDE}.executeSavePreset(document.querySelector('[aria-label=\"Preset name\"]').value)")
    console.toast("Preset saved")
    expect(chosen).to_have_value("mine")
    listed = {preset["name"]: preset["config"] for preset in console.request("GET", "/api/claude/presets")["presets"]}
    assert listed["mine"] == listed["Gemini 1M"]
    questions = []

    def agree(dialog):
        questions.append(dialog.message)
        dialog.accept()

    console.page.once("dialog", agree)
    settings.get_by_title("Delete Preset").click()
    console.toast("Preset deleted")
    assert questions == ['Delete preset "mine"?']
    expect(chosen.locator("option[value='mine']")).to_have_count(0)


def test_presets_of_the_server(console):
    def presets():
        return {preset["name"]: preset for preset in console.request("GET", "/api/server/presets")["presets"]}

    built_in = presets()
    before = console.request("GET", "/api/config")["config"]["maxRetries"]
    console.request("POST", "/api/server/presets", {"name": "ours", "config": {"maxRetries": before + 1}})
    assert set(presets()) == {*built_in, "ours"}
    console.request("PATCH", "/api/server/presets/ours", {"config": {"maxRetries": before + 3}})
    # This is how a preset is applied.
    console.request("POST", "/api/config", presets()["ours"]["config"])
    console.configured("maxRetries", before + 3)
    console.request("POST", "/api/config", {"maxRetries": before})
    console.configured("maxRetries", before)
    console.request("DELETE", "/api/server/presets/ours")
    assert presets() == built_in


def test_claudes_settings_are_written_and_restored(console):
    settings = console.tab("Claude CLI")

    def written():
        return console.request("GET", "/api/claude/config")["config"].get("env", {}).get("ANTHROPIC_MODEL")

    model = choose(settings, FLASH)
    settings.get_by_role("button", name="Apply to Claude CLI").click()
    console.toast("Claude configuration saved")
    assert [written() for _ in range(3)] == [model] * 3
    settings.get_by_role("button", name="Restore Default").click()
    settings.locator("#restore_defaults_modal").get_by_role("button", name="Confirm Restore").click()
    console.toast("Claude CLI restored to defaults")
    assert [written() for _ in range(3)] == [None] * 3


def test_logs_of_all_replicas(console, pool):
    view = console.go("Logs")
    lines = view.locator("#logs-container [x-html]")
    served = lines.filter(has_text=re.compile(f"^POST /v1/messages 200 .*{FLASH}"))
    # It begins with what there is already.
    expect(lines.first).to_be_visible()
    since = console.page.evaluate("new Date().toISOString()")
    for _ in range(6):
        assert pool.ask(FLASH, "hello") == 200
    logs = "Alpine.$data(document.querySelector('[x-data=logsViewer]')).logs"
    console.page.wait_for_function(
        f"""since => {{
            const served = {logs}.filter(one => one.timestamp >= since && one.message.startsWith('POST /v1/messages 200'));
            return served.length === 6 && new Set(served.map(one => one.replica)).size === 3;
        }}""",
        arg=since,
    )
    for log in console.page.evaluate(logs):
        assert {"timestamp", "level", "message"} <= set(log)
        assert log["level"] in {"INFO", "SUCCESS", "WARN", "ERROR", "DEBUG"}
        assert KEY not in log["message"] and PASSWORD not in log["message"]

    expect(served.last).to_be_visible()
    success = view.get_by_role("checkbox", name="SUCCESS")
    success.uncheck()
    expect(served).to_have_count(0)
    expect(lines).not_to_have_count(0)
    success.check()
    sought = view.get_by_placeholder("grep logs...")
    sought.fill("^post /v1/messages 200")
    expect(lines.filter(has_not_text="POST /v1/messages 200")).to_have_count(0)
    expect(served.last).to_be_visible()
    sought.fill("nobody writes this")
    expect(view.get_by_text("No logs match filter")).to_be_visible()
    sought.fill("")
    view.get_by_title("Clear Logs").click()
    expect(served).to_have_count(0)
    assert pool.ask(FLASH, "hello again") == 200
    expect(served).to_have_count(1)


def test_usage(console, pool):
    before = sum(hour.get("_total", 0) for hour in console.page.evaluate("Object.values(Alpine.store('data').usageHistory)"))
    for model in (OPUS, FLASH, FLASH):
        assert pool.ask(model, "hello") == 200
    figures = {name: console.page.locator(f"[x-text='usageStats.{name}']") for name in ("total", "today")}

    def counted():
        console.page.get_by_label("Refresh data").click()
        return int(figures["total"].inner_text()) >= before + 3

    dashboard = console.go("Dashboard")
    until("usage is counted", counted, 30)
    assert int(figures["today"].inner_text()) >= 3

    def drawn(least):
        """Waits until the chart draws lines with at least these sums."""
        console.page.wait_for_function(
            """least => {
                const lines = Chart.getChart('usageTrendChart')?.data.datasets ?? [];
                const sum = name => lines.find(one => one.label === name)?.data.reduce((a, b) => a + b, 0) ?? 0;
                return Object.entries(least).every(([name, times]) => sum(name) >= times);
            }""",
            arg=least,
        )

    # Without the name of the family, as in the reference's history.
    drawn({short(OPUS): 1, short(FLASH): 2})
    for name in (short(OPUS), short(FLASH)):
        expect(dashboard.get_by_text(name, exact=True).locator("visible=true")).to_be_visible()
    dashboard.get_by_role("button", name="Model", exact=True).click()
    dashboard.get_by_role("button", name="Family", exact=True).click()
    drawn({"Claude": 1, "Gemini": 2})
    dashboard.get_by_role("button", name="Last 24H").first.click()
    dashboard.get_by_role("button", name="All Time").click()
    drawn({"Claude": 1, "Gemini": 2})
    expect(dashboard.get_by_text("No data tracked yet").locator("visible=true")).to_have_count(0)


def short(model):
    return model.partition("-")[2]
