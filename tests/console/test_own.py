"""The console itself, in a real Chromium against the real gateway: by what people see, roles and labels."""

import contextlib
import gzip
import re
import urllib.parse

import pytest
from fleet import until
from own import PAGES, PASSWORD, PUBLIC, Own, call, surveyed
from playwright.sync_api import expect

# Bytes, compressed: what a first visit loads until the first page is there.
FIRST_LOAD = 120_000


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield surveyed(Own(stack, tmp_path_factory.mktemp("own")))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 820, 390])
def test_every_page_opens_clean(look, theme, width):
    console = look(theme=theme, width=width)
    wrong = []
    for page in PAGES:
        console.go(page)
        wrong += [f"{page}: {found}" for found in console.axe()]
        if console.overflow() > 0:
            wrong.append(f"{page}: wider than the window")
    assert wrong == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_log_in_is_clean_and_says_what_is_wrong(look, theme):
    console = look(theme=theme, log_in=False)
    page = console.page
    field = page.get_by_label("Password", exact=True)
    expect(field).to_be_focused()
    assert console.axe() == []
    field.fill("not it")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text(re.compile("That password is wrong."))
    expect(field).to_be_focused()
    assert console.axe() == []
    # That one answer is the browser's to complain of.
    console.forgive("status of 401", f"401 {console.own.url}/api/session")
    field.fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def test_a_browser_without_cookies_is_told(look):
    console = look(log_in=False)
    page = console.page
    page.evaluate("() => { const ask = fetch; window.fetch = (to, how) => ask(to, { ...how, credentials: 'omit' }); }")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("does not keep the cookie")
    assert console.axe() == []


def test_logging_out_shows_nothing_any_more(look):
    console = look()
    accounts = console.go("accounts")
    expect(accounts.get_by_role("row")).not_to_have_count(0)
    switch = accounts.get_by_role("switch", name=re.compile("ada@example.com"))
    for _ in range(2):
        switch.click()
    # Messages, too, name whom they are about.
    expect(console.page.get_by_text("ada@example.com is enabled")).to_be_visible()
    # What it asks for when the session ends is refused.
    console.forgive("status of 401", f"401 {console.own.url}/")
    console.page.get_by_role("button", name="Log out").click()
    expect(console.page.get_by_role("heading", name="Log in")).to_be_visible()
    # At once: messages go by themselves after a while.
    assert console.page.get_by_text("ada@example.com").count() == 0
    console.page.get_by_label("Password", exact=True).fill(PASSWORD)
    console.page.keyboard.press("Enter")
    expect(console.page.get_by_role("heading", name="Accounts")).to_be_visible()
    expect(console.page.get_by_role("button", name="ada@example.com", exact=True)).to_be_visible()


def test_a_session_that_ended_elsewhere_leads_to_the_log_in(look, own):
    console = look()
    console.go("accounts")
    # The refusal is what leads there.
    console.forgive("status of 401", f"401 {own.url}/")
    call(own, "DELETE", "/api/sessions")
    refresh = console.page.get_by_role("button", name="Refresh", exact=True)

    def asked_for_the_password():
        # A gateway may take a session for good that it asked about within the last second.
        refresh.evaluate_all("(there) => there.forEach((button) => button.click())")
        return console.page.get_by_role("heading", name="Log in").count()

    until("the log-in is shown", asked_for_the_password, 30)


def test_a_page_that_asks_for_nothing_learns_that_the_session_ended(look, own):
    """What ended with it is the stream, and that is enough."""
    console = look()
    console.go("keys")
    console.live()
    # It has asked for all it wants for now.
    expect(console.page.get_by_role("button", name=re.compile("^[0-9]+ things? needs? attention"))).to_be_visible()
    expect(console.page.locator(".top .turning")).to_have_count(0)
    console.forgive("status of 401", f"401 {own.url}/")
    call(own, "DELETE", "/api/sessions")
    expect(console.page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(console.page.locator("page-keys")).to_have_count(0)


def test_links_and_back(look):
    console = look()
    page = console.page
    places = page.get_by_role("navigation", name="Navigation")
    places.get_by_role("link", name="Fleet").click()
    expect(page.get_by_role("heading", name="Fleet")).to_be_focused()
    expect(page).to_have_title("Fleet · antigravity-proxy")
    places.get_by_role("link", name="Accounts").click()
    page.get_by_role("button", name=re.compile("^Needs attention")).click()
    expect(page).to_have_url(re.compile("state=attention"))
    page.go_back()
    expect(page.get_by_role("button", name=re.compile("^All"))).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(page.get_by_role("heading", name="Fleet")).to_be_visible()
    page.goto(console.own.url + "/#/no-such-page")
    expect(page.get_by_role("heading", name="There is no such page").last).to_be_visible()


# What no link of the console says: names that every object has, numbers that are none, addresses that cannot be decoded.
ODD = [
    "constructor", "__proto__", "%E0%A4%A", "settings/constructor", "accounts?open=%3Cimg%20src%3Dx%3E&sort=__proto__",
    "usage?range=constructor&by=__proto__&show=toString", "overview?range=constructor&by=constructor",
    "capacity?open=__proto__&hours=-1&sort=valueOf", "fleet?sort=__proto__", "connect?client=constructor",
    "live?state=toString&sort=constructor", "keys?state=constructor&sort=-__proto__", "requests?slow=constructor",
    "logs?level=%3Cb%3E&from=NaN", "audit?actor=%00&action=%2e%2e",
]  # fmt: skip


def test_odd_addresses_break_nothing(look):
    console = look()
    page = console.page
    for tail in ODD:
        page.goto("about:blank")
        page.goto(f"{console.own.url}/#/{tail}")
        expect(page.locator("main h1").first).not_to_be_empty()
        expect(page.locator("main .skeleton")).to_have_count(0)
        assert console.complaints == [], tail


def test_accounts_can_be_found_and_sorted(look):
    console = look()
    accounts = console.go("accounts")
    page = console.page
    rows = accounts.locator("tbody tr")
    expect(rows).to_have_count(8)
    expect(rows.filter(has_text="eli@example.com")).to_contain_text("Banned")
    expect(rows.filter(has_text="fay.a-rather-long-name")).to_contain_text("Needs sign-in")
    expect(rows.filter(has_text="cas@example.com")).to_contain_text("Limited")
    counts = [int(text) for text in accounts.locator(".segments .count").all_inner_texts()]
    assert counts[0] == 8 and sum(counts[1:]) == 8, counts
    page.get_by_role("searchbox").fill("ultra")
    expect(rows).to_have_count(2)
    expect(page).to_have_url(re.compile("q=ultra"))
    page.reload()
    expect(rows).to_have_count(2)
    page.get_by_role("searchbox").fill("nobody")
    page.get_by_role("button", name="Show all accounts").click()
    expect(rows).to_have_count(8)
    page.get_by_role("button", name="Claude left").click()
    expect(rows.first).to_contain_text("cas@example.com")
    header = page.get_by_role("columnheader", name="Claude left")
    expect(header).to_have_attribute("aria-sort", "ascending")


def test_an_account_is_disabled_and_that_is_undone(look):
    console = look()
    accounts = console.go("accounts")
    switch = accounts.get_by_role("switch", name="Use hal@example.com")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "false")
    expect(accounts.locator("tr").filter(has_text="hal@example.com")).to_contain_text("Disabled")
    console.page.get_by_role("button", name="Undo").click()
    expect(switch).to_have_attribute("aria-checked", "true")
    expect(console.page.get_by_text("hal@example.com is enabled")).to_be_visible()


def test_a_change_elsewhere_shows_at_once(look, own):
    console = look()
    accounts = console.go("accounts")
    expect(console.page.get_by_role("banner").get_by_text("Live")).to_be_visible()
    switch = accounts.get_by_role("switch", name="Use gus@example.com")
    for enabled in (False, True):
        call(own, "POST", "/api/accounts/gus%40example.com/toggle", {"enabled": enabled})
        expect(switch).to_have_attribute("aria-checked", str(enabled).lower())


def test_without_the_stream_it_asks_again(look):
    console = look(log_in=False)
    console.forgive(f"failed: {console.own.url}/api/events", "Failed to load resource: net::ERR_FAILED")
    console.context.route("**/api/events*", lambda route: route.abort())
    console.page.get_by_label("Password", exact=True).fill(PASSWORD)
    console.page.keyboard.press("Enter")
    fleet = console.go("fleet")
    expect(console.page.get_by_role("banner").get_by_text("Polling")).to_be_visible()
    with console.page.expect_response("**/api/replicas"):
        pass
    expect(fleet.get_by_role("table")).to_be_visible()
    # It comes back, and what was missed is read.
    console.context.unroute("**/api/events*")
    expect(console.page.get_by_role("banner").get_by_text("Live")).to_be_visible(timeout=60_000)


def test_many_accounts_are_drawn_as_they_are_wanted(look):
    console = look()
    limits = {"claude-opus-4-6-thinking": {"remaining": "50%", "remainingFraction": 0.5, "resetTime": None}}
    one = {
        "source": "oauth", "enabled": True, "modelRateLimits": {}, "isInvalid": False, "modelQuotaThresholds": {},
        "subscription": {"tier": "pro"}, "status": "ok", "limits": limits,
    }  # fmt: skip
    accounts = [{"email": f"user{n}@example.com"} | one for n in range(500)]
    body = {"timestamp": "", "totalAccounts": 500, "models": [], "modelConfig": {}, "globalQuotaThreshold": 0}
    console.context.route("**/account-limits", lambda route: route.fulfill(json=body | {"accounts": accounts}))
    # What was asked for before is not asked for again at once.
    console.page.reload()
    rows = console.go("accounts").locator("tbody tr:not(.gap)")
    expect(rows.first).to_contain_text("user0@")
    assert rows.count() < 100
    expect(console.page.get_by_role("table")).to_have_attribute("aria-rowcount", "501")
    height = console.page.evaluate("document.documentElement.scrollHeight")
    for place, row in (("scrollHeight / 2", 250), ("scrollHeight", 499), ("scrollHeight / 4", 125)):
        console.page.evaluate(f"scrollTo(0, document.documentElement.{place} - innerHeight / 2)")
        there = rows.filter(has_text=f"user{row}@")
        expect(there).to_be_in_viewport()
        expect(there).to_have_attribute("aria-rowindex", str(row + 2))
        assert rows.count() < 100, "rows out of sight are taken out again"
    assert console.page.evaluate("document.documentElement.scrollHeight") == pytest.approx(height, abs=20)
    # From the last row that is drawn the keyboard goes on to those that were not.
    rows.last.get_by_role("button").last.focus()
    focused = rows.filter(has=console.page.locator(":focus"))
    last = int(focused.get_attribute("aria-rowindex"))
    for _ in range(4):
        console.page.keyboard.press("Tab")
        expect(focused).to_have_attribute("aria-rowindex", str(last + 1))
    console.page.get_by_role("searchbox").fill("user49")
    expect(rows).to_have_count(11)


def test_details_by_keyboard(look):
    console = look()
    accounts = console.go("accounts")
    page = console.page
    link = accounts.get_by_role("button", name="ada@example.com", exact=True)
    link.focus()
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name="ada@example.com")
    expect(drawer).to_be_visible()
    expect(drawer.get_by_role("row", name=re.compile("claude-opus"))).to_contain_text("62%")
    expect(page).to_have_url(re.compile("open=ada"))
    assert console.axe() == []
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    expect(link).to_be_focused()
    expect(page).not_to_have_url(re.compile("open="))


def test_menus_by_keyboard(look):
    console = look()
    page = console.page
    page.get_by_role("button", name="Display").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitemradio", name="System", exact=True)).to_be_focused()
    assert console.axe() == []
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("button", name="Display")).to_be_focused()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_privacy_mode_hides_every_address(look):
    console = look()
    accounts = console.go("accounts")
    page = console.page
    page.get_by_role("button", name="Display").click()
    page.get_by_role("menuitemcheckbox", name="Privacy mode").click()
    expect(page.get_by_text("Addresses hidden")).to_be_visible()
    expect(accounts).not_to_contain_text("@")
    expect(accounts.get_by_role("button", name=re.compile(r"^account-\w{5}$"))).to_have_count(8)
    page.get_by_text("Addresses hidden").click()
    expect(page.get_by_role("button", name="ada@example.com", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("language", "word"),
    [("zh-CN", "账号"), ("id-ID", "Akun"), ("pt-BR", "Contas"), ("tr-TR", "Hesaplar"), ("fr-FR", "Accounts")],
)
def test_languages(look, language, word):
    console = look(language=language, log_in=False)
    console.page.locator("[name=password]").fill(PASSWORD)
    console.page.keyboard.press("Enter")
    expect(console.page.get_by_role("link", name=word, exact=True)).to_be_visible()
    for page in ("accounts", "fleet", "overview", "connect"):
        text = console.go(page).inner_text()
        assert not re.search(r"\b(app|accounts|fleet|overview|connect)\.\w", text), text
    spoken = {"fr-FR": "en", "id-ID": "id", "tr-TR": "tr"}.get(language, language)
    expect(console.page.locator("html")).to_have_attribute("lang", spoken)


def test_a_gateway_that_goes_and_comes_leaves_what_was_there(look):
    console = look()
    accounts = console.go("accounts")
    console.forgive("status of 503", f"503 {console.own.url}/account-limits")
    away = {"status": "error", "error": "The store is away"}
    console.context.route("**/account-limits", lambda route: route.fulfill(status=503, json=away))
    console.page.get_by_role("button", name="Refresh", exact=True).first.click()
    notice = accounts.get_by_role("status").filter(has_text="Not up to date")
    expect(notice).to_contain_text("The store is away")
    expect(accounts.locator("tbody tr")).to_have_count(8)
    assert console.axe() == []
    # Else it may have tried again by itself.
    console.unseen()
    console.context.unroute("**/account-limits")
    notice.get_by_role("button", name="Try again").click()
    expect(notice).to_have_count(0)


def test_an_error_says_what_failed_and_how_to_go_on(look):
    console = look()
    console.forgive("status of 500", f"500 {console.own.url}/api/replicas")
    broken = {"status": "error", "error": "It broke"}
    console.context.route("**/api/replicas", lambda route: route.fulfill(status=500, json=broken))
    # What the first page had asked for is kept in memory otherwise, and would be shown as old.
    console.page.reload()
    fleet = console.go("fleet")
    expect(fleet.get_by_role("alert")).to_contain_text("It broke")
    assert console.axe() == []
    # Else it may have tried again by itself.
    console.unseen()
    console.context.unroute("**/api/replicas")
    fleet.get_by_role("button", name="Try again").click()
    expect(fleet.get_by_role("table")).to_be_visible()


def test_the_fleet_is_counted(look, tmp_path):
    with contextlib.ExitStack() as stack:
        own = Own(stack, tmp_path, replicas=2)
        console = look(own=own)
        # What ends with the test is nobody's complaint.
        stack.callback(console.page.close)
        fleet = console.go("fleet")
        expect(fleet.locator("tbody tr")).to_have_count(2)
        expect(fleet.get_by_text("of 2 replicas")).to_be_visible()
        expect(fleet.get_by_text("answers you")).to_have_count(1)
        assert console.axe() == []


def test_without_accounts_it_says_what_to_do(look, tmp_path):
    with contextlib.ExitStack() as stack:
        own = Own(stack, tmp_path, accounts=False)
        console = look(own=own)
        stack.callback(console.page.close)
        accounts = console.go("accounts")
        expect(accounts.get_by_role("heading", name="No accounts yet")).to_be_visible()
        overview = console.go("overview")
        expect(overview.get_by_text("not ready for requests")).to_be_visible()
        assert console.axe() == []


def test_the_first_load_is_small(look):
    console = look(log_in=False)
    loaded = set()
    console.page.on("response", lambda response: loaded.add(urllib.parse.urlsplit(response.url).path))
    console.page.reload()
    console.page.get_by_label("Password", exact=True).fill(PASSWORD)
    console.page.keyboard.press("Enter")
    expect(console.page.get_by_role("heading", name="Overview")).to_be_visible()
    console.go("overview")
    files = {path: PUBLIC / (path[1:] or "index.html") for path in loaded if not path.startswith(("/api/", "/account-limits"))}
    sizes = {path: len(gzip.compress(file.read_bytes())) for path, file in files.items()}
    print(sum(sizes.values()), sizes)
    assert 20_000 < sum(sizes.values()) < FIRST_LOAD, sizes


def test_ten_thousand_rows_are_few_in_the_page(look):
    console = look()
    console.go("fleet")
    page = console.page
    page.evaluate(
        """async () => {
            await import('/js/ui/virtual.js');
            const rows = document.createElement('x-rows');
            rows.id = 'rows';
            rows.label = 'Lines';
            rows.height = 24;
            rows.items = Array.from({ length: 10_000 }, (_, n) => n);
            rows.row = (n) => `line ${n}`;
            rows.style.height = '300px';
            document.querySelector('main').append(rows);
        }"""
    )
    rows = page.get_by_role("list", name="Lines")
    expect(rows.get_by_text("line 0", exact=True)).to_be_visible()
    assert rows.get_by_role("listitem").count() < 60
    page.evaluate("document.querySelector('#rows').toEnd()")
    expect(rows.get_by_text("line 9999", exact=True)).to_be_visible()
    assert rows.get_by_role("listitem").count() < 60
    expect(rows.get_by_role("listitem").last).to_have_attribute("aria-posinset", "10000")
    rows.focus()
    page.keyboard.press("Home")
    expect(rows.get_by_text("line 0", exact=True)).to_be_visible()
    assert console.axe() == []


def test_a_chart_is_a_table_too(look):
    console = look(theme="dark")
    console.go("fleet")
    page = console.page
    page.evaluate(
        """async () => {
            await import('/js/ui/chart.js');
            const chart = document.createElement('x-chart');
            Object.assign(chart, {
                id: 'chart',
                label: 'Requests',
                times: Array.from({ length: 60 }, (_, n) => 1_800_000_000_000 + n * 60_000),
                series: [
                    { label: 'Claude', values: Array.from({ length: 60 }, (_, n) => (n % 7 ? n : null)) },
                    { label: 'Gemini', values: Array.from({ length: 60 }, (_, n) => 60 - n) },
                ],
                area: true,
            });
            document.querySelector('main').append(chart);
        }"""
    )
    chart = page.get_by_role("figure", name="Requests")
    expect(chart.locator("canvas")).to_be_visible()
    drawn = """(canvas) => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
    }"""
    until("it is drawn", lambda: chart.locator("canvas").evaluate(drawn) > 10, 15)
    first = chart.locator("canvas").element_handle()
    page.evaluate("document.querySelector('#chart').series = document.querySelector('#chart').series.map((one) => ({ ...one }))")
    page.evaluate("document.querySelector('#chart').updateComplete.then(() => undefined)")
    assert first.evaluate("(canvas) => canvas.isConnected"), "new figures make no new chart"
    chart.get_by_role("button", name="As a table").click()
    expect(chart.get_by_role("row")).to_have_count(61)
    expect(chart.get_by_role("row").nth(1)).to_contain_text("59")
    assert console.axe() == []
    chart.get_by_role("button", name="As a table").click()
    expect(chart.locator("canvas")).to_be_visible()


def test_a_question_keeps_the_focus_and_gives_it_back(look):
    console = look()
    console.go("fleet")
    page = console.page
    ask = """async (typed) => {
        const { confirm } = await import('/js/ui/dialog.js');
        const what = { title: 'Remove it?', text: 'It is gone then.', action: 'Remove', tone: 'bad' };
        window.answer = undefined;
        confirm(typed ? { ...what, typed } : what).then((answer) => { window.answer = answer; });
    }"""
    refresh = page.get_by_role("button", name="Refresh", exact=True)
    refresh.focus()
    page.evaluate(ask, "")
    dialog = page.get_by_role("alertdialog", name="Remove it?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    assert console.axe() == []
    page.keyboard.press("Escape")
    until("it is answered", lambda: page.evaluate("answer") is False)
    expect(dialog).to_have_count(0)
    expect(refresh).to_be_focused()
    page.evaluate(ask, "ada")
    expect(dialog.get_by_role("button", name="Remove")).to_be_disabled()
    dialog.get_by_label("Type ada to confirm").fill("ada")
    page.keyboard.press("Enter")
    until("it is answered", lambda: page.evaluate("answer") is True)
    expect(dialog).to_have_count(0)


def test_the_first_password(look, tmp_path):
    with contextlib.ExitStack() as stack:
        away = {"HOST": "0.0.0.0", "ALLOWED_HOSTS": "127.0.0.1", "TRUSTED_PROXIES": "127.0.0.1"}
        own = Own(stack, tmp_path, WEBUI_PASSWORD="", **away)
        own.url = own.url.replace("0.0.0.0", "127.0.0.1")
        log = tmp_path / "a/gateway.log"
        token = until("the token is told", lambda: re.search(r"agp_setup_[\w-]+", log.read_text()), 60)[0]
        console = look(own=own, log_in=False)
        stack.callback(console.page.close)
        page = console.page
        # From the gateway's own machine there is nothing to ask for.
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        expect(page.get_by_role("button", name="Log out")).to_have_count(0)
        # Nothing that was open asks for anything as a stranger.
        page.goto("about:blank")
        page.context.set_extra_http_headers({"x-forwarded-for": "203.0.113.9"})
        page.goto(own.url)
        expect(page.get_by_role("heading", name="Set a password")).to_be_visible()
        assert console.axe() == []
        console.forgive("status of 403", f"403 {own.url}/api/config/password")
        page.get_by_label("Setup token").fill("agp_setup_no")
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_label("Once more").fill(PASSWORD + "!")
        page.get_by_role("button", name="Set password").click()
        expect(page.get_by_role("alert")).to_have_text("The two passwords are not the same.")
        page.get_by_label("Once more").fill(PASSWORD)
        page.get_by_role("button", name="Set password").click()
        expect(page.get_by_role("alert")).not_to_have_text("The two passwords are not the same.")
        expect(page.get_by_role("alert")).not_to_be_empty()
        page.get_by_label("Setup token").fill(token)
        page.get_by_role("button", name="Set password").click()
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()


def test_nothing_is_inline():
    for file in [PUBLIC / "index.html", *(PUBLIC / "js").rglob("*.js")]:
        assert not re.search(r"<style|\sstyle=|styleMap|\son\w+=\"", file.read_text()), file
