"""What people come to the console for, from beginning to end: in a real Chromium, at two gateways on one Redis behind an
nginx that gives each request to the next of them."""

import contextlib
import http.client
import json
import re
import threading
import types
import urllib.error
import urllib.parse
import urllib.request

import pytest
from fleet import KEY, message, until
from own import DEMO, PASSWORD, Look, Own, account, call, logged, sign_in_at_google, surveyed
from playwright.sync_api import expect
from programs import DIRECT

OPUS, FLASH = "claude-opus-4-6-thinking", "gemini-3-flash"
# Who looks at the console is elsewhere, says the balancer.
AFAR = "203.0.113.9"
FAY = "fay.a-rather-long-name@engineering.example.com"
RULES = [
    {"when": {"text": "SLOW"}, "then": {"delay_ms": 600_000}},
    {"when": {"text": "BROKEN"}, "then": {"fault": "server_error"}},
]


def alone(own, number):
    """One of the gateways, past the balancer, to look at."""
    return types.SimpleNamespace(url=own.replicas[number].url)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Starts pairs of gateways."""
    with contextlib.ExitStack() as stack:

        def start(**more):
            folder = tmp_path_factory.mktemp("journeys")
            scenario = folder / "scenario.json"
            scenario.write_text(json.dumps(json.loads(DEMO.read_text()) | {"rules": RULES}))
            own = Own(stack, folder, scenario, replicas=2, peer=AFAR, **more)
            own.folder = folder
            return surveyed(own) if more.get("accounts", True) else own

        yield start


@pytest.fixture(scope="module")
def own(started):
    """For journeys that leave the pool as it was, or that do not care."""
    return started()


def takes(replica, key):
    """Whether a gateway lets a client with this key in."""
    request = urllib.request.Request(replica.url + "/v1/models", headers={"x-api-key": key})
    with contextlib.suppress(urllib.error.HTTPError), DIRECT.open(request, timeout=30) as answer:
        return answer.status == 200
    return False


def add_by_paste(console, email):
    """Adds an account whose owner signs in at another machine, so that the way back leads nowhere."""
    page = console.page
    page.get_by_role("button", name="Add account").first.click()
    dialog = page.get_by_role("dialog", name="Add an account")
    url = begin(console, dialog)
    dialog.get_by_label("Did the browser end on a page that does not load?").fill(sign_in_at_google(url, email))
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("status")).to_contain_text(f"{email} is in the pool")
    dialog.get_by_role("button", name="Close").last.click()


def begin(console, dialog):
    """Begins a sign-in; the address that its window has, which stays empty and is closed."""
    console.context.route("**/auth?**", lambda route: route.fulfill(body="Google"))
    with console.context.expect_page() as window:
        dialog.get_by_role("button", name="Sign in with Google").click()
    window.value.close()
    return dialog.get_by_role("link", name="Open Google’s page").get_attribute("href")


def test_from_the_first_start_to_the_first_request(look, started):
    """No password, no account: what is seen first asks for one, then for the other, and ends with an answer."""
    own = started(accounts=False, WEBUI_PASSWORD="", HOST="0.0.0.0", ALLOWED_HOSTS="127.0.0.1")

    def printed():
        logs = "".join((own.folder / name / "gateway.log").read_text() for name in "ab")
        return re.search(r"agp_setup_[\w-]+(?=\s)", logs)

    # One of them prints it, and it is good at both.
    token = until("the token is printed", printed, 60)[0]
    console = look(own=own, log_in=False)
    page = console.page
    expect(page.get_by_role("heading", name="Set a password")).to_be_visible()
    page.get_by_label("Setup token").fill(token)
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("Once more").fill(PASSWORD)
    page.get_by_role("button", name="Set password").click()

    expect(page.get_by_text("not ready for requests")).to_be_visible()
    places = page.get_by_role("navigation", name="Navigation")
    places.get_by_role("link", name="Accounts").click()
    expect(page.get_by_role("heading", name="No accounts yet")).to_be_visible()
    add_by_paste(console, "ada@example.com")
    expect(page.get_by_role("row").filter(has_text="ada@example.com")).to_contain_text("Ready")

    places.get_by_role("link", name="Connect").click()
    page.get_by_role("button", name="Make a key").click()
    dialog = page.get_by_role("dialog", name="Make a key")
    dialog.get_by_label("Name").fill("laptop")
    page.keyboard.press("Enter")
    key = dialog.get_by_role("region", name="Key").inner_text()
    until("both gateways take it", lambda: all(takes(replica, key) for replica in own.replicas), 20)
    dialog.get_by_role("button", name="Close").last.click()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status").filter(has_text="It works")).to_be_visible()
    expect(page.get_by_role("region", name="Answer")).not_to_be_empty()

    places.get_by_role("link", name="Requests").click()
    row = page.locator("page-requests").get_by_role("row").filter(has_text="laptop")
    expect(row).to_contain_text("Served")
    row.get_by_role("button").click()
    expect(page.get_by_role("dialog", name="Story of a request")).to_contain_text("laptop")


def test_an_account_is_added_by_paste(look, own):
    """Begun at one gateway and completed at whichever comes next."""
    call(own, "DELETE", "/api/accounts/hal%40example.com")
    console = look()
    console.go("accounts")
    add_by_paste(console, "hal@example.com")
    expect(console.page.get_by_role("row").filter(has_text="hal@example.com")).to_contain_text("Ready")
    until("both gateways know it", lambda: all(account(one, "hal@example.com") for one in own.replicas), 20)


def test_a_window_that_is_blocked_is_no_dead_end(look, own):
    console = look()
    console.context.route("**/auth?**", lambda route: route.fulfill(body="Google"))
    console.go("accounts")
    page = console.page
    page.evaluate("window.open = () => null")
    page.get_by_role("button", name="Actions for ada@example.com").click()
    page.get_by_role("menuitem", name="Sign in again").click()
    dialog = page.get_by_role("dialog", name="Sign in ada@example.com")
    dialog.get_by_role("button", name="Sign in with Google").click()
    expect(dialog.get_by_text("did not open")).to_be_visible()
    link = dialog.get_by_role("link", name="Open Google’s page")
    with console.context.expect_page() as window:
        link.click()
    window.value.close()
    expect(dialog.get_by_text("A window was opened")).to_be_visible()
    # The window comes back to the gateway by itself: to the other one, this time.
    back = urllib.parse.urlsplit(sign_in_at_google(link.get_attribute("href")))
    DIRECT.open(f"{own.url}{back.path}?{back.query}", timeout=30).close()
    expect(dialog.get_by_role("status")).to_contain_text("ada@example.com is signed in again")


def test_a_sign_in_that_is_over_or_not_ours_is_told(look, own):
    console = look()
    console.go("accounts")
    page = console.page
    page.get_by_role("button", name="Add account").click()
    dialog = page.get_by_role("dialog", name="Add an account")
    url = begin(console, dialog)
    paste = dialog.get_by_label("Did the browser end on a page that does not load?")

    # The way back of another sign-in, which was used already.
    other = call(own, "GET", "/api/auth/url")
    back = sign_in_at_google(other["url"], "ada@example.com")
    call(own, "POST", "/api/auth/complete", {"state": other["state"], "callbackInput": back})
    paste.fill(back)
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("belongs to another sign-in")

    # Its own, but somebody was faster.
    state = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["state"][0]
    console.context.route("**/api/auth/status?**", lambda route: route.fulfill(json={"status": "ok", "state": "expired"}))
    expect(dialog.get_by_role("alert")).to_contain_text("Nobody signed in within ten minutes")
    assert console.axe() == []
    console.context.unroute("**/api/auth/status?**")
    with console.context.expect_page() as window:
        dialog.get_by_role("button", name="Begin again").click()
    window.value.close()
    expect(dialog.get_by_text("Waiting for Google")).to_be_visible()
    assert state not in dialog.get_by_role("link", name="Open Google’s page").get_attribute("href")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    console.forgive("status of 400", f"400 {own.url}/api/auth/complete")


def test_another_account_than_the_one_to_be_mended_is_refused(look, own):
    console = look()
    console.go("accounts", open=FAY)
    page = console.page
    drawer = page.get_by_role("dialog", name=FAY)
    drawer.get_by_role("button", name="Sign in", exact=True).click()
    dialog = page.get_by_role("dialog", name=f"Sign in {FAY}")
    url = dialog.get_by_role("link", name="Open Google’s page").get_attribute("href")
    # As somebody else, whatever was asked for.
    url = url.replace("login_hint=" + urllib.parse.quote(FAY, safe=""), "login_hint=ada%40example.com")
    dialog.get_by_label("Did the browser end on a page that does not load?").fill(sign_in_at_google(url))
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("Signed in as ada@example.com, but another account was to sign in")
    expect(dialog.get_by_role("button", name="Begin again")).to_be_focused()
    assert console.axe() == []
    assert account(own.replicas[0], FAY)["isInvalid"]
    dialog.get_by_role("button", name="Close").last.click()
    console.forgive("status of 400", f"400 {own.url}/api/auth/complete")


def test_a_banned_and_an_unverified_account_are_mended(look, started):
    """The page says what helps; when that was done at Google, a test brings the account back, at both gateways."""
    own = started()

    def heard():
        for replica in own.replicas:
            replica.ask(OPUS)
        return account(own.replicas[0], "dee@example.com")["isInvalid"]

    until("an account has to be verified", heard, 60)
    console = look(own=own)
    accounts = console.go("accounts")
    page = console.page
    scenario = own.google.call("GET", "/sim/scenario")
    for email, state, action, helps in (
        ("dee@example.com", "Needs verification", "Verify", "Google wants its owner to verify"),
        ("eli@example.com", "Banned", "Appeal", "only its owner’s appeal"),
    ):
        row = accounts.get_by_role("row").filter(has_text=email)
        expect(row).to_contain_text(state)
        accounts.get_by_role("button", name=f"Actions for {email}").click()
        page.get_by_role("menuitem", name=action).click()
        dialog = page.get_by_role("dialog", name=f"Fix {email}")
        expect(dialog).to_contain_text(helps)
        check = dialog.get_by_role("button", name="Check whether it helped")
        if state == "Banned":
            check.click()
            expect(dialog.get_by_role("status")).to_contain_text("It does not work")
        next(one for one in scenario["accounts"] if one["email"] == email)["state"] = "active"
        own.google.call("PUT", "/sim/scenario", scenario)
        check.click()
        expect(dialog.get_by_role("status")).to_contain_text(f"{email} works")
        assert console.axe() == []
        dialog.get_by_role("button", name="Done").click()
        expect(row).to_contain_text("Ready")
    mended = ("dee@example.com", "eli@example.com")
    for replica in own.replicas:
        until("it is used again", lambda: not any(account(replica, email)["isInvalid"] for email in mended), 20)
        assert replica.ask(OPUS) == 200


def test_a_threshold_by_keyboard_and_by_drag_holds_at_both(look, own):
    console, other = look(), look(own=alone(own, 1))
    capacity, beside = (one.go("capacity", open=OPUS) for one in (console, other))
    page = console.page
    other.live()
    slider, seen = (
        one.get_by_role("slider", name=f"Threshold of {OPUS}, gus@example.com") for one in (capacity, beside)
    )
    expect(slider).to_have_attribute("aria-valuetext", "0%, from the pool")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_text(f"Threshold of {OPUS}: 4%")).to_be_visible()
    expect(seen).to_have_value("4")

    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.04, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, middle)
    page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    page.mouse.up()
    expect(page.get_by_text(re.compile(rf"Threshold of {OPUS}: (4[5-9]|5[0-5])%"))).to_be_visible()
    now = int(slider.input_value())
    expect(seen).to_have_value(str(now))

    def kept(replica):
        return account(replica, "gus@example.com")["modelQuotaThresholds"] == {OPUS: now / 100}

    until("both gateways know it", lambda: all(kept(one) for one in own.replicas), 20)
    capacity.get_by_role("button", name=f"Inherit again: Threshold of {OPUS}, gus@example.com").click()
    expect(seen).to_have_attribute("aria-valuetext", "0%, from the pool")


def test_a_strategy_is_changed_everywhere_and_back(look, own):
    console = look()
    page = console.page
    page.goto(f"{own.url}/#/settings/routing")
    strategy = page.get_by_role("combobox", name="accountSelection.strategy")
    strategy.select_option("round-robin")
    expect(page.get_by_text("1 change", exact=True)).to_be_visible()
    page.get_by_role("button", name="Review").click()
    review = page.get_by_role("dialog", name="Apply 1 change?")
    row = review.get_by_role("row", name=re.compile("accountSelection.strategy"))
    expect(row).to_contain_text("hybrid")
    expect(row).to_contain_text("round-robin")
    assert console.axe() == []
    review.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("1 setting changed")).to_be_visible()
    undo = page.get_by_role("button", name="Undo")
    # It stays while it is pointed at.
    undo.hover()
    expect(page.get_by_text("Applied on 2 of 2 replicas")).to_be_visible()
    for replica in own.replicas:
        assert call(replica, "GET", "/api/settings")["settings"]["accountSelection.strategy"] == "round-robin"
    undo.click()
    expect(page.get_by_text("The settings are as they were")).to_be_visible()
    expect(strategy).to_have_value("hybrid")


@contextlib.contextmanager
def in_flight(replica, words="SLOW"):
    """A request that is not answered until somebody ends it; the statuses with which it was."""
    ended = []
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(replica.url).netloc, timeout=120)

    def ask():
        headers = {"content-type": "application/json", "x-api-key": KEY, "anthropic-version": "2023-06-01"}
        with contextlib.suppress(OSError, http.client.HTTPException, AttributeError):
            # A stream would begin with pings when it takes long.
            connection.request("POST", "/v1/messages", json.dumps(message(OPUS, words, False)), headers)
            answer = connection.getresponse()
            answer.read()
            ended.append(answer.status)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield ended
        thread.join(30)
    finally:
        connection.close()


def test_a_request_of_the_other_gateway_is_cancelled(look, own):
    """The console is the first one's own, so that it is the other one that has to be told."""
    console = look(own=alone(own, 0))
    live = console.go("live")
    console.live()
    page = console.page
    expect(live.get_by_role("heading", name="Nothing in flight")).to_be_visible()
    with in_flight(own.replicas[1]) as ended:
        row = live.get_by_role("row").filter(has_text="Waiting for an answer")
        expect(row).to_have_count(1)
        expect(row).to_contain_text(OPUS)
        row.get_by_role("button", name=re.compile("^Cancel request")).click()
        question = page.get_by_role("alertdialog", name="Cancel this request?")
        assert console.axe() == []
        question.get_by_role("button", name="Cancel request").click()
        expect(page.get_by_text("was cancelled")).to_be_visible()
        expect(live.get_by_role("heading", name="Nothing in flight")).to_be_visible()
    assert ended and ended[0] >= 400, ended


def test_the_story_of_a_request_that_failed(look, own):
    assert own.replicas[1].ask(OPUS, "BROKEN") >= 500
    assert own.replicas[0].ask(FLASH) == 200
    logged(own, "outcome=upstream_error", "outcome=served")
    console = look()
    requests = console.go("requests")
    page = console.page
    requests.get_by_role("button", name="Failed").click()
    row = requests.get_by_role("row").filter(has_text="Upstream failed").first
    expect(row).to_be_visible()
    expect(requests.get_by_role("row").filter(has_text="Served")).to_have_count(0)
    row.get_by_role("button").click()
    story = page.get_by_role("dialog", name="Story of a request")
    attempts = story.get_by_text("Attempts", exact=True).locator("xpath=following-sibling::dd[1]")
    expect(attempts).to_have_text(re.compile("^[2-9]$"))
    lines = story.get_by_role("region", name="Its log lines").get_by_role("listitem")
    expect(lines.filter(has_text="upstream_error")).not_to_have_count(0)
    assert console.axe() == []


def test_what_was_exported_is_imported_again(look, own, tmp_path):
    console = look()
    accounts = console.go("accounts")
    page = console.page
    rows = accounts.locator("tbody tr")
    expect(rows).to_have_count(8)
    accounts.get_by_role("button", name="More commands").click()
    page.get_by_role("menuitem", name="Export").click()
    dialog = page.get_by_role("dialog", name="Export accounts")
    dialog.get_by_label("The console’s password, once more").fill(PASSWORD)
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    expect(page.get_by_text("8 accounts were exported")).to_be_visible()
    told = json.loads(download.value.path().read_text())
    assert len(told) == 8

    console.live()
    call(own, "DELETE", "/api/accounts/hal%40example.com")
    expect(rows).to_have_count(7)
    file = tmp_path / "accounts.json"
    file.write_text(json.dumps([*told, {"email": "nobody@example.com"}, {"email": "new@example.com", "refreshToken": "1//no"}]))
    page.get_by_role("button", name="Import", exact=True).click()
    dialog = page.get_by_role("dialog", name="Import accounts")
    dialog.get_by_label("File", exact=True).set_input_files(file)
    expect(dialog.get_by_text("9 of 10 entries would be imported.")).to_be_visible()

    def row(email):
        return dialog.get_by_role("row").filter(has_text=email)

    for email, outcome in (("hal", "New"), ("ada", "Gets this credential"), ("nobody", "Left out")):
        expect(row(f"{email}@example.com")).to_contain_text(outcome)
    assert console.axe() == []
    dialog.get_by_role("button", name="Import", exact=True).click()
    for email, outcome in (("hal", "Added"), ("ada", "Updated")):
        expect(row(f"{email}@example.com")).to_contain_text(outcome)
    dialog.get_by_role("button", name="Close").last.click()
    expect(rows.filter(has_text="hal@example.com")).to_have_count(1)
    until("both gateways know it", lambda: all(account(one, "hal@example.com") for one in own.replicas), 20)
    call(own, "DELETE", "/api/accounts/new%40example.com")
    # Of an account that was updated nothing is known until it is asked for again.
    surveyed(own)


def test_the_logs_of_both_are_one_list(look, started):
    # All connections are cut, those of other tests, too.
    own = started()
    console = look(own=own)
    logs = console.go("logs", q="model_unknown")
    page = console.page
    expect(logs.get_by_text("Live", exact=True)).to_be_visible()
    lines = logs.get_by_role("listitem")
    before = lines.count()
    for replica in own.replicas:
        assert replica.ask("no-such-model") == 400
    expect(lines).to_have_count(before + 2)
    own.site.cut()
    for replica in own.replicas:
        assert replica.ask("no-such-model") == 400
    expect(lines).to_have_count(before + 4)
    expect(logs.get_by_text("Live", exact=True)).to_be_visible()
    kept = page.evaluate("document.querySelector('page-logs').tail.lines.map(({ id, replica }) => [id, replica])")
    assert len({one for one, _ in kept}) == len(kept) == before + 4
    assert len({replica for _, replica in kept}) == 2
    assert lines.count() == before + 4
    # That connections broke off is what was done.
    console.forgive("ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION", "ERR_EMPTY_RESPONSE")


def test_one_gateway_is_lost_and_the_console_goes_on(look, started):
    own = started()
    console = look(own=own)
    views = ("overview", "accounts", "logs", "capacity")
    for view in views:
        console.go(view)
    fleet = console.go("fleet")
    rows = fleet.locator("tbody tr")
    expect(rows).to_have_count(2)
    lost = own.replicas[1]
    lost.child.kill()
    lost.child.wait(30)
    expect(rows.filter(has_text="Silent").or_(rows.filter(has_text="Lost"))).to_have_count(1, timeout=40_000)
    expect(rows.filter(has_text="Lost")).to_have_count(1, timeout=40_000)
    expect(fleet.get_by_text("1 replica ended without a word")).to_be_visible()
    assert console.axe() == []
    # What is on its way there fails; after that everything is there again.
    for view in views:
        shown = console.go(view)
        expect(shown.get_by_role("alert")).to_have_count(0)
    expect(console.page.get_by_role("banner").get_by_text("Live")).to_be_visible()
    accounts = console.go("accounts")
    switch = accounts.get_by_role("switch", name="Use hal@example.com")

    def away():
        try:
            call(own, "GET", "/api/status")
        except urllib.error.HTTPError as refusal:
            return refusal.code == 502
        return False

    # The balancer tries the lost one every ten seconds: not with the change, when it just has.
    until("the balancer has tried it", away, 60)
    switch.click()
    expect(console.page.get_by_text("hal@example.com is disabled")).to_be_visible()
    console.forgive("status of 502", f"502 {own.url}/", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONTENT_LENGTH_MISMATCH")


def click(name, role="button"):
    """Opens what a control of the page opens."""
    return lambda page: page.get_by_role(role, name=name, exact=isinstance(name, str)).first.click()


def choose(menu, item):
    def open_it(page):
        page.get_by_role("button", name=menu).first.click()
        page.get_by_role("menuitem", name=item).first.click()

    return open_it


def first_row(of):
    return lambda page: page.locator(f"page-{of} tbody tr, page-{of} [role=listitem]").last.get_by_role("button").first.click()


def picked(button, item=None):
    def open_it(page):
        for name in ("ada", "gus"):
            page.get_by_role("checkbox", name=f"Pick {name}@example.com").check()
        page.get_by_role("button", name=button, exact=True).click()
        if item:
            page.get_by_role("menuitem", name=item).click()

    return open_it


def changed(page):
    page.goto(page.url.split("#")[0] + "#/settings/routing")
    page.get_by_role("combobox", name="accountSelection.strategy").select_option("sticky")
    page.get_by_role("button", name="Review").click()


# A page, what is opened on it, and what that is.
OPENED = [
    ("overview", click("Display"), "menu"),
    ("accounts", click("ada@example.com"), "dialog"),
    ("accounts", click("Actions for ada@example.com"), "menu"),
    ("accounts", click("Add account"), "dialog"),
    ("accounts", choose(f"Actions for {FAY}", "Sign in"), "dialog"),
    ("accounts", choose("Actions for eli@example.com", "Appeal"), "dialog"),
    ("accounts", choose("Actions for ada@example.com", "Delete"), "dialog"),
    ("accounts", click("Import"), "dialog"),
    ("accounts", choose("More commands", "Export"), "dialog"),
    ("accounts", picked("Disable"), "dialog"),
    ("accounts", picked("More for the picked accounts", "Set threshold"), "dialog"),
    ("capacity", click(OPUS), "page"),
    ("capacity", choose(f"Actions for {OPUS}", "Set for all"), "dialog"),
    ("requests", first_row("requests"), "dialog"),
    ("logs", first_row("logs"), "dialog"),
    ("keys", click("Create key"), "dialog"),
    ("keys", choose("Actions for laptop", "Edit"), "dialog"),
    ("keys", choose("Actions for laptop", "Rotate"), "dialog"),
    ("keys", choose("Actions for laptop", "Revoke"), "dialog"),
    ("usage", click("As a table"), "page"),
    ("connect", click("Make a key"), "dialog"),
    ("connect", click("Keep as preset"), "dialog"),
    ("settings", changed, "dialog"),
    ("settings/explain", click("Explain"), "page"),
    ("settings/presets", click("Save as preset"), "dialog"),
    ("settings/security", None, "page"),
    ("settings/appearance", None, "page"),
    ("settings/models", None, "page"),
]


@pytest.fixture(scope="module")
def shared(browser, own):
    """One log-in for many looks at pages in which something was done."""
    with contextlib.suppress(urllib.error.HTTPError):
        call(own, "POST", "/api/keys", {"name": "laptop"})
    for replica in own.replicas:
        assert replica.ask(FLASH) == 200
    console = Look(browser, own)
    # Changes of settings that were not applied are left behind.
    console.page.on("dialog", lambda dialog: dialog.accept())
    yield console
    console.close()


@pytest.mark.parametrize(("place", "opens", "what"), OPENED, ids=[f"{number}-{one[0]}" for number, one in enumerate(OPENED)])
def test_everything_that_opens_is_clean(shared, own, place, opens, what):
    """Light at 1440 px and dark at 390 (menus wide), and closed by Escape, with the focus where it was."""
    page = shared.page
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto("about:blank")
    page.goto(f"{own.url}/#/{place}")
    page.locator(f"page-{place.split('/')[0]} h1").wait_for(state="attached")
    expect(page.locator("main .skeleton")).to_have_count(0)
    if opens:
        opens(page)
    if what == "page":
        assert shared.everywhere() == []
        return
    shown = page.get_by_role("dialog").or_(page.get_by_role("alertdialog")).or_(page.get_by_role("menu"))
    expect(shown).to_be_visible()
    if what == "menu":
        # It may close when the window becomes another.
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            assert shared.axe("[role=menu]") == []
    else:
        assert shared.everywhere("dialog[open]") == []
    page.keyboard.press("Escape")
    expect(shown).to_have_count(0)
    expect(page.locator("body")).not_to_be_focused()


# Of each page what it shows, what is in it where there is nothing, and what it says then.
EMPTY = {
    "overview": ("api/status", None, None),
    "live": ("api/requests/live", {"requests": []}, "Nothing in flight"),
    "requests": ("api/logs", {"logs": [], "older": None}, "No requests yet"),
    "usage": ("api/usage", {"usage": []}, "Nothing was asked in this time"),
    "capacity": ("account-limits", {"accounts": [], "models": []}, "No accounts yet"),
    "accounts": ("account-limits", {"accounts": [], "models": []}, "No accounts yet"),
    "keys": ("api/keys", {"keys": []}, "No keys yet"),
    "fleet": ("api/replicas", {"replicas": [], "versions": []}, "No replica is known"),
    "logs": ("api/logs", {"logs": [], "older": None}, "No lines yet"),
    "connect": ("api/status", None, None),
    "settings": ("api/settings", None, None),
    "audit": ("api/audit", {"records": [], "next": None}, "Nothing recorded"),
}


@pytest.mark.parametrize("view", EMPTY)
def test_each_view_in_each_state(shared, own, view):
    """Loading, failed and again, old with its age, empty, refused: each is told, and each is clean."""
    console, page = shared, shared.page
    path, nothing, said = EMPTY[view]
    pattern = re.compile(rf"/{path}(\?|$)")
    held, wrong = [], []

    def look_at(state):
        # By turns, so that each state is seen in both themes and at both widths by some view.
        number = list(EMPTY).index(view) + len(wrong)
        width, theme = [(1440, "light"), (390, "dark"), (1440, "dark"), (390, "light")][number % 4]
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        wrong.append([f"{state}, {width} px, {theme}: {found}" for found in console.axe()])

    def fails(route):
        route.fulfill(status=503, json={"status": "error", "error": "It broke"})

    def refuses(route):
        route.fulfill(status=401, json={"status": "error", "error": "Unauthorized"})

    def less(route):
        got = route.fetch()
        route.fulfill(response=got, json=got.json() | nothing)

    answers = [lambda route: held.append(route)]
    page.route(pattern, lambda route: answers[-1](route))

    def again(button):
        """It is asked for, and what was said stays until it is there: it may be asked for by itself at any moment."""
        held.clear()
        answers.append(lambda route: held.append(route))
        button.click()
        until("it is asked for", lambda: page.evaluate("1") and held, 20)
        answers.append(lambda route: route.continue_())
        for one in held:
            one.continue_()

    page.goto("about:blank")
    page.goto(f"{own.url}/#/{view}")
    shown = page.locator(f"page-{view}")
    expect(shown.get_by_role("status", name="Loading").first).to_be_visible()
    look_at("loading")

    answers.append(fails)
    for one in held:
        fails(one)
    expect(shown.get_by_role("alert").first).to_contain_text("It broke")
    look_at("failed")
    again(shown.get_by_role("button", name="Try again").first)
    expect(shown.get_by_role("alert")).to_have_count(0)
    expect(page.locator("main .skeleton")).to_have_count(0)
    wrong.append(console.everywhere())

    # Logs say at each moment whether they follow.
    if view != "logs":
        answers.append(fails)
        page.get_by_role("button", name="Refresh", exact=True).first.click()
        old = shown.get_by_role("status").filter(has_text="It broke").first
        expect(old).to_contain_text("Not up to date")
        expect(old.locator("x-time")).to_contain_text(re.compile("sec|now"))
        look_at("old")
        again(old.get_by_role("button", name="Try again"))
        expect(old).to_have_count(0)

    if nothing:
        page.goto("about:blank")
        answers.append(less)
        page.goto(f"{own.url}/#/{view}")
        expect(shown.get_by_role("heading", name=said)).to_be_visible()
        look_at("empty")

    page.goto("about:blank")
    answers.append(refuses)
    page.goto(f"{own.url}/#/{view}?sort=-used")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(shown).to_have_count(0)
    look_at("refused")
    page.unroute(pattern)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(shown.get_by_role("heading", level=1)).to_be_visible()
    expect(page).to_have_url(re.compile(f"/#/{view}[?]sort=-used$"))
    page.set_viewport_size({"width": 1440, "height": 900})
    assert sum(wrong, []) == []
    console.forgive("status of 503", "status of 401", f"503 {own.url}/{path}", f"401 {own.url}/{path}", "ERR_FAILED")


def test_the_log_in_is_above_everything_and_leads_back(look, started):
    """The session ends elsewhere while a dialog is open over a drawer."""
    # All sessions end, those of other tests, too.
    own = started()
    console = look(own=own)
    accounts = console.go("accounts", q="ada")
    page = console.page
    accounts.get_by_role("button", name="ada@example.com", exact=True).click()
    drawer = page.get_by_role("dialog", name="ada@example.com", exact=True)
    drawer.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alertdialog", name="Delete ada@example.com?")).to_be_visible()
    call(own, "DELETE", "/api/sessions")

    def refused():
        # A gateway may take a session for good that it asked about within the last second.
        page.evaluate("import('/js/lib/resource.js').then(({ reloadAll }) => reloadAll())")
        return page.get_by_role("heading", name="Log in").count()

    until("the log-in is shown", refused, 30)
    expect(page.get_by_role("dialog").or_(page.get_by_role("alertdialog"))).to_have_count(0)
    expect(page.get_by_text("ada@example.com")).to_have_count(0)
    assert console.axe() == []
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(drawer).to_be_visible()
    expect(page).to_have_url(re.compile("[?&]q=ada.*[?&]open=ada"))
    expect(page.get_by_role("alertdialog")).to_have_count(0)
    console.forgive("status of 401", f"401 {own.url}/")
