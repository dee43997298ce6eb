"""Accounts, Capacity, Connect and Overview in a real Chromium against the real gateway: each journey by roles and labels."""

import contextlib
import json
import re
import urllib.parse

import pytest
from fleet import until
from own import KEY, PASSWORD, Own, account, call, counted, sign_in_at_google, surveyed
from playwright.sync_api import expect

OPUS, FLASH = "claude-opus-4-6-thinking", "gemini-3-flash"


@pytest.fixture
def own(tmp_path):
    """One for each test: they change accounts."""
    with contextlib.ExitStack() as stack:
        yield surveyed(Own(stack, tmp_path))


def all_heard(own):
    """Asks until each account was: that dee has to be verified shows when it is used."""

    def asked():
        own.ask(OPUS)
        return account(own, "dee@example.com")["isInvalid"]

    until("an account has to be verified", asked, 60)


def begin(console, button):
    """Begins a sign-in in the console; the address that the window has, which is closed."""
    with console.context.expect_page() as window:
        button.click()
    window.value.close()
    dialog = console.page.get_by_role("dialog")
    return dialog.get_by_role("link", name="Open Google’s page").get_attribute("href")


@contextlib.contextmanager
def no_windows(console):
    """Windows stay empty: what they would show is done by hand."""
    console.context.route("**/auth?**", lambda route: route.fulfill(body="Google"))
    yield


def test_an_account_is_added_by_paste(look, own):
    call(own, "DELETE", "/api/accounts/ada%40example.com")
    console = look()
    console.go("accounts")
    page = console.page
    expect(page.get_by_role("button", name="ada@example.com", exact=True)).to_have_count(0)
    with no_windows(console):
        page.get_by_role("button", name="Add account").click()
        dialog = page.get_by_role("dialog", name="Add an account")
        assert console.axe() == []
        url = begin(console, dialog.get_by_role("button", name="Sign in with Google"))
    expect(dialog.get_by_text("Waiting for Google")).to_be_visible()
    expect(dialog.get_by_text("ends in")).to_be_visible()
    assert console.axe() == []
    paste = dialog.get_by_label("Did the browser end on a page that does not load?")
    paste.fill("short")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("Paste the whole address")
    paste.fill(sign_in_at_google(url + "&login_hint=ada%40example.com"))
    page.keyboard.press("Enter")
    done = page.get_by_role("dialog").get_by_role("status")
    expect(done).to_contain_text("ada@example.com")
    assert console.axe() == []
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    expect(page.get_by_role("button", name="ada@example.com", exact=True)).to_be_visible()


def test_a_sign_in_that_ends_elsewhere_is_noticed(look, own):
    """The window came back to the gateway by itself, or another replica completed it."""
    console = look()
    console.go("accounts")
    page = console.page
    with no_windows(console):
        page.get_by_role("button", name="Actions for fay.a-rather-long-name@engineering.example.com").click()
        page.get_by_role("menuitem", name="Sign in", exact=True).click()
    # What mends it is begun at once, for that account only.
    dialog = page.get_by_role("dialog", name=re.compile("^Sign in fay"))
    expect(dialog.get_by_role("link", name="Open Google’s page")).to_have_attribute("href", re.compile("login_hint=fay"))
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    with no_windows(console):
        page.get_by_role("button", name="Actions for ada@example.com").click()
        page.get_by_role("menuitem", name="Sign in again").click()
        dialog = page.get_by_role("dialog", name="Sign in ada@example.com")
        url = begin(console, dialog.get_by_role("button", name="Sign in with Google"))
    state = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["state"][0]
    call(own, "POST", "/api/auth/complete", {"callbackInput": sign_in_at_google(url), "state": state})
    expect(dialog.get_by_role("status")).to_contain_text("ada@example.com is signed in again")


def test_banned_and_unverified_accounts_say_what_helps(look, own):
    all_heard(own)
    console = look()
    console.go("accounts", open="eli@example.com")
    page = console.page
    drawer = page.get_by_role("dialog", name="eli@example.com")
    drawer.get_by_role("button", name="Appeal").click()
    appeal = page.get_by_role("dialog", name="Fix eli@example.com")
    expect(appeal).to_contain_text("only its owner’s appeal")
    assert console.axe() == []
    appeal.get_by_role("button", name="Check whether it helped").click()
    expect(appeal.get_by_role("status")).to_contain_text("It does not work")
    appeal.get_by_role("button", name="Close").last.click()
    expect(appeal).to_have_count(0)
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    page.get_by_role("button", name="Actions for dee@example.com").click()
    page.get_by_role("menuitem", name="Verify").click()
    verify = page.get_by_role("dialog", name="Fix dee@example.com")
    link = verify.get_by_role("link", name="Open Google’s page")
    expect(link).to_have_attribute("href", re.compile(r"^https://accounts\.google\.com/"))
    expect(link).to_have_attribute("rel", re.compile("noopener"))


def test_a_threshold_by_keyboard_and_by_number(look, own):
    console = look()
    console.go("accounts", open="ada@example.com")
    page = console.page
    drawer = page.get_by_role("dialog", name="ada@example.com")
    slider = drawer.get_by_role("slider", name=f"Threshold of {OPUS}")
    expect(slider).to_have_attribute("aria-valuetext", "0%, from the pool")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_text(f"Threshold of {OPUS}: 3%")).to_be_visible()
    assert account(own, "ada@example.com")["modelQuotaThresholds"] == {OPUS: 0.03}
    assert console.axe() == []
    number = drawer.get_by_role("spinbutton", name="Threshold of ada@example.com, in percent")
    number.fill("20")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Threshold of ada@example.com: 20%")).to_be_visible()
    other = drawer.get_by_role("slider", name=f"Threshold of {FLASH}")
    expect(other).to_have_attribute("aria-valuetext", "20%, from the account")
    drawer.get_by_role("button", name=f"Inherit again: Threshold of {OPUS}").click()
    expect(slider).to_have_attribute("aria-valuetext", "20%, from the account")

    def kept():
        now = account(own, "ada@example.com")
        return (now["modelQuotaThresholds"], now["quotaThreshold"]) == ({}, 0.2)

    until("the gateway has it", kept)


def test_a_threshold_by_drag_and_undone(look, own):
    console = look()
    page = console.page
    page.clock.install()
    page.reload()
    capacity = console.go("capacity", open=OPUS)
    slider = capacity.get_by_role("slider", name=f"Threshold of {OPUS}, gus@example.com")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 5, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, middle)
    # Whoever holds it for a while has not chosen yet.
    page.clock.fast_forward(2_000)
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.up()
    toast = page.get_by_text(re.compile(rf"Threshold of {OPUS}: (4\d|5\d)%"))
    expect(toast).to_be_visible()
    assert 0.4 < account(own, "gus@example.com")["modelQuotaThresholds"][OPUS] < 0.6
    page.get_by_role("button", name="Undo").click()
    expect(slider).to_have_attribute("aria-valuetext", "0%, from the pool")
    until("the gateway has it", lambda: account(own, "gus@example.com")["modelQuotaThresholds"] == {})


def test_many_accounts_are_changed_at_once_and_back(look, own):
    console = look()
    accounts = console.go("accounts")
    page = console.page
    for name in ("ada", "gus", "hal"):
        page.get_by_role("checkbox", name=f"Pick {name}@example.com").check()
    expect(page.get_by_text("3 accounts picked")).to_be_visible()
    console.live()
    call(own, "POST", "/api/accounts/hal%40example.com/toggle", {"enabled": False})
    expect(accounts.get_by_role("switch", name="Use hal@example.com")).to_have_attribute("aria-checked", "false")
    page.get_by_role("button", name="Disable", exact=True).click()
    dialog = page.get_by_role("dialog", name="Disable accounts")
    expect(dialog.get_by_role("listitem").filter(has_text="hal@")).to_contain_text("is disabled already")
    assert console.axe() == []
    dialog.get_by_role("button", name="Disable (2)").click()
    expect(dialog.get_by_role("status")).to_contain_text("2 of 2 done")
    expect(dialog.get_by_text("Done", exact=True)).to_have_count(2)
    assert not account(own, "ada@example.com")["enabled"]
    dialog.get_by_role("button", name="Undo").click()
    expect(accounts.get_by_role("switch", name="Use ada@example.com")).to_have_attribute("aria-checked", "true")
    until("both are used again", lambda: all(account(own, f"{one}@example.com")["enabled"] for one in ("ada", "gus")))
    assert not account(own, "hal@example.com")["enabled"]


def test_a_threshold_for_all(look, own):
    console = look()
    console.go("accounts")
    page = console.page
    page.get_by_role("checkbox", name=re.compile("^Pick all")).check()
    page.get_by_role("button", name="More for the picked accounts").click()
    page.get_by_role("menuitem", name="Set threshold").click()
    dialog = page.get_by_role("dialog", name="Threshold of all models")
    dialog.get_by_role("spinbutton").fill("15")
    dialog.get_by_role("button", name="Set (8)").click()
    expect(dialog.get_by_role("status")).to_contain_text("8 of 8 done")
    assert {one["quotaThreshold"] for one in call(own, "GET", "/api/accounts")["accounts"]} == {0.15}


def test_deleting_asks_first(look, own):
    console = look()
    accounts = console.go("accounts")
    page = console.page
    for answer in ("Cancel", "Delete"):
        accounts.get_by_role("button", name="Actions for hal@example.com").click()
        page.get_by_role("menuitem", name="Delete").click()
        dialog = page.get_by_role("alertdialog", name="Delete hal@example.com?")
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        dialog.get_by_role("button", name=answer, exact=True).click()
        expect(dialog).to_have_count(0)
        if answer == "Cancel":
            assert account(own, "hal@example.com")
    expect(page.get_by_text("hal@example.com was deleted")).to_be_visible()
    expect(accounts.get_by_role("button", name="hal@example.com", exact=True)).to_have_count(0)
    assert account(own, "hal@example.com") is None


def test_a_test_a_refresh_and_a_reload_say_how_they_went(look):
    console = look()
    accounts = console.go("accounts")
    page = console.page
    for item, said in (
        ("Test now", "ada@example.com works"),
        ("Refresh", "ada@example.com was refreshed"),
    ):
        accounts.get_by_role("button", name="Actions for ada@example.com").click()
        page.get_by_role("menuitem", name=item).click()
        expect(page.get_by_text(said)).to_be_visible()
    for item, said in (
        ("Read the pool again", "The pool was read again"),
        ("Check all quotas now", "All quotas were checked"),
    ):
        accounts.get_by_role("button", name="More commands").click()
        page.get_by_role("menuitem", name=item).click()
        expect(page.get_by_text(said)).to_be_visible()


def test_an_import_is_seen_before_it_is_made(look, own, tmp_path):
    console = look()
    accounts = console.go("accounts")
    page = console.page
    bad, good = tmp_path / "bad.json", tmp_path / "accounts.json"
    entries = [
        {"email": "new@example.com", "refreshToken": "1//sim-new"},
        {"email": "ADA@example.com", "refresh_token": "1//sim-ada"},
        {"email": "nobody@example.com"},
    ]
    bad.write_text("{")
    good.write_text(json.dumps({"accounts": entries}))
    page.get_by_role("button", name="Import", exact=True).click()
    dialog = page.get_by_role("dialog", name="Import accounts")
    field = dialog.get_by_label("File", exact=True)
    field.set_input_files(bad)
    expect(dialog.get_by_text("That is no JSON.")).to_be_visible()
    expect(dialog.get_by_role("button", name="Import", exact=True)).to_be_disabled()
    field.set_input_files(good)
    expect(dialog.get_by_text("2 of 3 entries would be imported.")).to_be_visible()
    expect(dialog.get_by_role("row").filter(has_text="nobody@")).to_contain_text("neither a refresh token nor an API key")
    assert console.axe() == []
    assert account(own, "new@example.com") is None
    dialog.get_by_role("button", name="Import", exact=True).click()
    expect(dialog.get_by_role("status")).to_contain_text("1 added, 1 updated, 0 refused")
    dialog.get_by_role("button", name="Close").last.click()
    expect(accounts.get_by_role("button", name="new@example.com", exact=True)).to_be_visible()


def test_an_export_asks_for_the_password_again(look):
    console = look()
    accounts = console.go("accounts")
    page = console.page
    accounts.get_by_role("button", name="More commands").click()
    page.get_by_role("menuitem", name="Export").click()
    dialog = page.get_by_role("dialog", name="Export accounts")
    field = dialog.get_by_label("The console’s password, once more")
    expect(field).to_be_focused()
    assert console.axe() == []
    field.fill("not it")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("That password is wrong.")
    console.forgive("status of 401", f"401 {console.own.url}/api/accounts/export")
    field.fill(PASSWORD)
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    expect(page.get_by_text("8 accounts were exported")).to_be_visible()
    told = json.loads(download.value.path().read_text())
    assert len(told) == 8 and told[0]["refresh_token"]
    assert re.fullmatch(r"antigravity-proxy-accounts-\d{4}-\d\d-\d\d\.json", download.value.suggested_filename)
    expect(dialog).to_have_count(0)


def test_accounts_of_the_desktop_are_not_deleted(look):
    console = look()
    console.go("fleet")
    data = call(console.own, "GET", "/account-limits")
    data["accounts"][0]["source"] = "database"
    email = data["accounts"][0]["email"]
    console.context.route("**/account-limits", lambda route: route.fulfill(json=data))
    page = console.page
    page.reload()
    console.go("accounts")
    page.get_by_role("button", name=f"Actions for {email}").click()
    expect(page.get_by_role("menuitem", name="Belongs to the desktop installation")).to_be_disabled()


def test_capacity_says_until_when_quotas_last(look, own):
    """The gateway notes every ten minutes what is left; an hour of such notes is put in its mouth."""
    all_heard(own)
    console = look()
    page = console.page

    def told(route):
        answer = route.fetch()
        body = answer.json()
        now, step = body["now"], body["stepMs"]
        slot = now // step
        points = [{"time": (slot - 5 + n) * step, "left": 0.6 - n * 0.06, "accounts": 4} for n in range(6)]
        ends = now + 30 * 60_000
        body["models"] = [{"model": OPUS, "points": points, "perHour": 0.36, "runsOutAt": ends}]
        route.fulfill(response=answer, json=body)

    page.route("**/api/capacity/history*", told)
    capacity = console.go("capacity")
    opus = capacity.get_by_role("row").filter(has_text=OPUS).first
    expect(opus).to_contain_text(re.compile(r"lasts until about \d\d:\d\d, at 36\s?% an hour"))
    expect(capacity.get_by_role("list").filter(has_text="Nothing is left of")).to_contain_text(OPUS)
    left = capacity.get_by_role("region", name="What was left")
    left.get_by_role("button", name="As a table").click()
    expect(left.get_by_role("columnheader", name=OPUS)).to_be_visible()
    expect(left.get_by_role("cell", name=re.compile(r"^54\s?%$"))).to_be_visible()
    assert console.axe() == []
    page.unroute("**/api/capacity/history*")
    page.get_by_role("button", name="24 h").click()
    expect(opus).not_to_contain_text("lasts until")


def test_capacity_is_told_in_words_and_found(look, own):
    all_heard(own)
    console = look()
    capacity = console.go("capacity")
    page = console.page
    rows = capacity.locator("tbody tr")
    opus = capacity.get_by_role("row").filter(has_text=OPUS)
    expect(opus).to_contain_text("4 of 8 usable")
    expect(opus.get_by_role("img")).to_have_attribute("aria-label", re.compile("Usable: 4, Used up: 1|Used up: 1"))
    everything = rows.count()
    page.get_by_role("button", name=re.compile("^Gemini")).click()
    expect(opus).to_have_count(0)
    page.get_by_role("searchbox").fill("nothing")
    page.get_by_role("button", name="Show all models").click()
    expect(rows).to_have_count(everything)
    page.get_by_role("button", name="Left on average").click()
    expect(rows.first).to_contain_text(OPUS)
    capacity.get_by_role("button", name=OPUS, exact=True).click()
    expect(capacity.get_by_role("group", name=f"{OPUS} by account").get_by_role("listitem")).to_have_count(8)
    assert console.axe() == []
    expect(
        capacity.get_by_text(
            re.compile(
                f"cas@example.com cannot serve {OPUS} until .*: its quota is used up"
            )
        )
    ).to_be_visible()
    expect(capacity.get_by_text(f"{OPUS} is back on cas@example.com")).to_be_visible()


def test_models_are_pinned_and_hidden_for_everybody(look, own):
    console = look()
    capacity = console.go("capacity")
    page = console.page
    capacity.get_by_role("button", name=f"Actions for {FLASH}").click()
    page.get_by_role("menuitem", name="Pin to the top").click()
    expect(capacity.locator("tbody tr").first).to_contain_text(FLASH)
    capacity.get_by_role("button", name=f"Actions for {OPUS}").click()
    page.get_by_role("menuitem", name="Hide").click()
    expect(capacity.get_by_role("button", name=OPUS, exact=True)).to_have_count(0)

    def told(model, what):
        return call(own, "GET", "/account-limits")["modelConfig"].get(model, {}).get(what)

    until("the gateway has both", lambda: told(FLASH, "pinned") is True and told(OPUS, "hidden") is True)
    capacity.get_by_role("switch", name="Show hidden (1)").click()
    expect(capacity.get_by_role("button", name=OPUS, exact=True)).to_be_visible()
    page.locator(".toast").filter(has_text=f"{OPUS} is hidden").get_by_role("button", name="Undo").click()
    expect(capacity.get_by_role("switch")).to_have_count(0)
    until("the gateway has it", lambda: not told(OPUS, "hidden"))


def test_capacity_without_accounts_says_what_to_do(look, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    with contextlib.ExitStack() as stack:
        console = look(own=Own(stack, bare, accounts=False))
        # What ends with the test is nobody's complaint.
        stack.callback(console.page.close)
        capacity = console.go("capacity")
        expect(capacity.get_by_role("heading", name="No accounts yet")).to_be_visible()
        capacity.get_by_role("link", name="Go to Accounts").click()
        expect(console.page.get_by_role("button", name="Add account").first).to_be_visible()
        assert console.axe() == []


def test_a_client_is_connected_and_tried(look, own):
    console = look()
    connect = console.go("connect")
    # Which account it was is told by an event.
    console.live()
    page = console.page
    connect.get_by_role("radio", name="cURL").check()
    expect(connect.get_by_role("region", name="cURL")).to_contain_text(f"{own.url}/v1/messages")
    connect.get_by_role("radio", name="Claude Code · bash, zsh").check()
    lines = connect.get_by_role("region", name="Claude Code · bash, zsh")
    expect(lines).to_contain_text("<your API key>")
    expect(connect.get_by_role("button", name="Send")).to_be_disabled()
    connect.get_by_role("button", name="Make a key").click()
    dialog = page.get_by_role("dialog", name="Make a key")
    dialog.get_by_label("Name").fill("laptop")
    page.keyboard.press("Enter")
    secret = dialog.get_by_role("region", name="Key").inner_text()
    assert console.axe() == []
    dialog.get_by_role("button", name="Close").last.click()
    assert secret not in lines.inner_text()
    connect.get_by_label("Main model").select_option(FLASH)
    expect(lines).to_contain_text(f"ANTHROPIC_MODEL='{FLASH}'")
    connect.get_by_label("What to ask").fill("Hello")
    connect.get_by_role("button", name="Send").click()
    expect(connect.get_by_role("status").filter(has_text="It works")).to_be_visible()
    expect(connect.get_by_role("region", name="Answer")).not_to_be_empty()
    outcome = connect.locator(".outcome")
    expect(outcome).to_contain_text(FLASH)
    expect(outcome.get_by_role("link", name=re.compile("@example.com$"))).to_be_visible()
    expect(outcome).to_contain_text(re.compile(r"First words after\s*\d"))
    assert console.axe() == []
    connect.get_by_text("Undo it").click()
    expect(connect.get_by_role("region", name="Undo it")).to_contain_text("unset ANTHROPIC_BASE_URL")


def test_a_call_that_is_refused_says_why(look):
    console = look()
    connect = console.go("connect")
    connect.get_by_label("Paste a key").fill("wrong")
    connect.get_by_role("button", name="Send").click()
    expect(connect.get_by_role("status").filter(has_text="It failed")).to_be_visible()
    expect(connect.get_by_role("alert")).to_contain_text("Invalid")
    console.forgive("status of 401", f"401 {console.own.url}/v1/messages")


def test_presets_are_kept_used_and_deleted(look, own):
    console = look()
    connect = console.go("connect")
    page = console.page
    connect.get_by_label("Main model").select_option(FLASH)
    connect.get_by_role("button", name="Keep as preset").click()
    page.get_by_role("dialog").get_by_label("Name").fill("Mine")
    page.keyboard.press("Enter")
    row = connect.get_by_role("row").filter(has_text="Mine")
    expect(row).to_contain_text(FLASH)

    def kept():
        return {one["name"]: one["config"] for one in call(own, "GET", "/api/claude/presets")["presets"]}.get("Mine")

    until("the gateway has it", kept)
    assert kept()["ANTHROPIC_MODEL"] == FLASH
    connect.get_by_role("button", name="Use here: Claude Thinking").click()
    expect(connect.get_by_label("Main model")).to_have_value(OPUS)
    row.get_by_role("button", name="More for Mine").click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(row).to_have_count(0)
    page.locator(".toast").filter(has_text="Mine was deleted").get_by_role("button", name="Undo").click()
    expect(row).to_be_visible()
    until("the gateway has it again", kept)


def test_the_overview_says_it_in_words_first(look, own):
    all_heard(own)
    counted(own, OPUS)
    console = look()
    overview = console.go("overview")
    page = console.page
    expect(overview.get_by_role("status").first).to_contain_text("Claude is served normally: 4 of 8 accounts can take requests")
    states = overview.get_by_role("region", name="Accounts")
    expect(states.get_by_role("link", name=re.compile("Needs attention"))).to_contain_text("3")
    expect(overview.get_by_role("region", name="Needs attention")).to_contain_text("eli@example.com")
    volume = overview.get_by_role("region", name="Requests")
    expect(volume).to_contain_text(re.compile(r"In this range\s*[1-9]"))
    expect(volume.locator("canvas")).to_be_visible()
    volume.get_by_role("button", name="7 d").click()
    volume.get_by_role("button", name="Outcome").click()
    expect(volume).to_contain_text("Answered")
    expect(page).to_have_url(re.compile("range=7d"))
    expect(page).to_have_url(re.compile("by=status"))
    assert console.axe() == []
    states.get_by_role("link", name=re.compile("Needs attention")).click()
    expect(page.get_by_role("button", name=re.compile("^Needs attention"))).to_have_attribute("aria-pressed", "true")


def test_a_threshold_field_shows_what_holds(look, own):
    console = look()
    console.go("accounts", open="ada@example.com")
    field = console.page.get_by_role("dialog").get_by_role("spinbutton").first
    field.fill("")
    field.press("Tab")
    expect(field).to_have_value("0")
    field.fill("150")
    field.press("End")
    field.press_sequentially("9")
    field.press("Enter")
    expect(field).to_have_value("99")
    until("it is saved", lambda: account(own, "ada@example.com")["quotaThreshold"] == 0.99, 20)


def test_a_double_click_is_one(look):
    """The second one goes to what lies under the pointer by then: beside the dialog, or on another button of it."""
    console = look()
    accounts = console.go("accounts")
    page = console.page
    dialog = page.get_by_role("dialog")
    accounts.get_by_role("button", name="Import").dblclick()
    expect(dialog.get_by_role("heading", name="Import")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    accounts.get_by_role("checkbox", name=re.compile("Pick all")).check()
    accounts.get_by_role("button", name="Refresh", exact=True).click()
    dialog.get_by_role("button", name="Refresh (8)").dblclick()
    expect(dialog.get_by_role("listitem").filter(has_text="Done")).to_have_count(8)
    expect(dialog.get_by_text("Waiting")).to_have_count(0)
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="More", exact=True).dblclick()
    expect(dialog).to_have_count(1)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_many_of_which_one_is_gone_say_so(look, own):
    console = look()
    accounts = console.go("accounts")
    console.live()
    page = console.page
    for name in ("ada", "gus"):
        accounts.get_by_role("checkbox", name=f"Pick {name}@example.com").check()
    page.get_by_role("button", name="More for the picked accounts").click()
    page.get_by_role("menuitem", name="Set threshold").click()
    dialog = page.get_by_role("dialog")
    call(own, "DELETE", "/api/accounts/gus%40example.com")
    expect(accounts.locator("tbody").get_by_text("gus@example.com")).to_have_count(0)
    dialog.locator("footer .primary").click()
    expect(dialog.get_by_role("listitem").filter(has_text="ada@example.com")).to_contain_text("Done")
    expect(dialog.get_by_role("listitem").filter(has_text="gus@example.com")).to_contain_text("Failed")


def test_an_import_that_is_closed_meanwhile_says_how_it_went(look, own):
    console = look()
    console.go("accounts")
    page = console.page
    held = []
    page.route("**/api/accounts/import", lambda route: held.append(route))
    page.get_by_role("button", name="Import").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("paste", exact=False).first.click()
    entries = [{"email": f"{name}@example.com", "refreshToken": "1//x"} for name in ("ivy", "joe")]
    dialog.get_by_role("textbox").fill(json.dumps(entries))
    dialog.locator("footer .primary").click()
    until("it is on its way", lambda: page.evaluate("1") and held, 20)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    held[0].continue_()
    expect(page.get_by_text("2 added, 0 updated, 0 refused")).to_be_visible()


def test_a_preset_for_claude_code_is_not_replaced_unseen(look, own):
    def keep(model):
        call(own, "POST", "/api/claude/presets", {"name": "Mine", "config": {"ANTHROPIC_MODEL": model}})

    def kept():
        presets = call(own, "GET", "/api/claude/presets")["presets"]
        return next(one["config"] for one in presets if one["name"] == "Mine")["ANTHROPIC_MODEL"]

    keep(FLASH)
    console = look()
    connect = console.go("connect")
    page = console.page
    connect.get_by_label("Main model").select_option(OPUS)
    connect.get_by_role("button", name="Keep as preset").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("Mine")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("already")
    assert console.axe() == []
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert kept() == FLASH
    # Edited here, while somebody else does the same.
    connect.get_by_role("button", name="More for Mine").click()
    page.get_by_role("menuitem", name="Edit").click()
    dialog.get_by_label("Main model").fill("mine")
    keep("theirs")
    dialog.get_by_role("button", name="Keep", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("Somebody changed")
    assert kept() == "theirs"
    dialog.get_by_role("button", name="Keep", exact=True).click()
    expect(dialog).to_have_count(0)
    assert kept() == "mine"


def test_a_double_click_does_not_stop_a_call(look):
    console = look()
    connect = console.go("connect")
    connect.get_by_label("Paste a key").fill(KEY)
    connect.get_by_label("Main model").select_option(FLASH)
    connect.get_by_role("button", name="Send").dblclick()
    expect(connect.get_by_role("status").filter(has_text="It works")).to_be_visible()


# The middle of a switch that lies below a choice of the open menu.
BELOW = """() => [...document.querySelectorAll('main .switch')]
    .map((one) => one.getBoundingClientRect())
    .map(({ x, y, width, height }) => [x + width / 2, y + height / 2])
    .find(([x, y]) => document.elementFromPoint(x, y)?.closest('[role=menuitem]:not(.bad)'))"""


def test_a_double_click_in_a_menu_reaches_nothing_below_it(look):
    console = look()
    accounts = console.go("accounts")
    page = console.page
    switched = []
    page.on("request", lambda request: request.url.endswith("/toggle") and switched.append(request.url))
    menus = accounts.get_by_role("button", name=re.compile("^Actions for"))
    found = None
    for menu in menus.all():
        menu.click()
        expect(page.get_by_role("menu")).to_be_visible()
        found = page.evaluate(BELOW)
        if found:
            break
        page.keyboard.press("Escape")
        expect(page.get_by_role("menu")).to_have_count(0)
    page.mouse.dblclick(*found)
    expect(page.get_by_role("menu")).to_have_count(0)
    # Whatever it opened.
    page.goto("about:blank")
    console.go("accounts")
    accounts.get_by_role("switch", name=re.compile("hal@example.com")).click()
    expect(page.get_by_text("hal@example.com is disabled")).to_be_visible()
    assert len(switched) == 1, switched
