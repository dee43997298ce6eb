"""What the console offers on every page: what needs somebody, the command palette, the keys."""

import contextlib
import re
import urllib.error

import pytest
from fleet import until
from own import Own, call, surveyed
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        own = surveyed(Own(stack, tmp_path_factory.mktemp("shell")))
        # Some show what they are only when they are used, or tried.
        for email in ("dee@example.com", "eli@example.com", "fay.a-rather-long-name@engineering.example.com"):
            with contextlib.suppress(urllib.error.HTTPError):
                call(own, "POST", f"/api/accounts/{email}/verify")
        yield own


def palette(page):
    # Until the one before is gone it is not opened again.
    expect(page.locator(".palette-dialog")).to_have_count(0)
    page.keyboard.press("Control+k")
    field = page.get_by_role("dialog", name="Search and commands").get_by_role("combobox")
    expect(field).to_be_focused()
    return field


def test_what_needs_somebody_is_counted_and_listed_on_every_page(look):
    console = look()
    console.go("keys")
    page = console.page
    bell = page.get_by_role("banner").get_by_role("button", name=re.compile("things? needs? attention"))
    bell.click()
    tray = page.get_by_role("dialog", name="Needs attention")
    rows = tray.get_by_role("listitem")
    expect(rows.filter(has_text="1 account needs a sign-in")).to_contain_text("fay.a-rather-long-name")
    expect(rows.filter(has_text="1 account is banned")).to_contain_text("eli@example.com")
    until("the bell counts them", lambda: bell.inner_text().strip() == str(rows.count()), 20)
    assert console.axe() == []
    tray.get_by_role("link", name="1 account is banned").click()
    expect(tray).to_have_count(0)
    accounts = page.locator("page-accounts")
    expect(accounts.get_by_role("row").filter(has_text="eli@example.com")).to_be_visible()
    expect(page).to_have_url(re.compile("state=attention"))


def test_the_list_follows_what_happens(look, own):
    console = look()
    console.go("audit")
    page = console.page
    page.get_by_role("button", name=re.compile("needs? attention")).click()
    tray = page.get_by_role("dialog", name="Needs attention")
    banned = tray.get_by_role("link", name="1 account is banned")
    expect(banned).to_be_visible()
    try:
        call(own, "POST", "/api/accounts/eli@example.com/toggle", {"enabled": False})
        # The accounts are asked for every ten seconds at most.
        expect(banned).to_have_count(0, timeout=60_000)
    finally:
        call(own, "POST", "/api/accounts/eli@example.com/toggle", {"enabled": True})
    expect(banned).to_be_visible(timeout=60_000)


def test_all_that_wait_are_fixed_one_after_the_other(look):
    console = look()
    console.go("logs")
    page = console.page
    page.get_by_role("button", name=re.compile("needs? attention")).click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Fix [0-9]+ accounts?$")).click()
    seen = []
    for _ in range(2):
        dialog = page.get_by_role("dialog").last
        expect(dialog).to_be_visible()
        seen.append(dialog.inner_text())
        assert console.axe() == []
        page.get_by_role("button", name=re.compile("^(Next|Skip)")).click()
        expect(dialog.get_by_text(seen[-1].splitlines()[0])).to_have_count(0)
    assert any("eli@" in text for text in seen) and len(set(seen)) == 2, seen


def test_a_replica_that_is_lost_is_told(look, tmp_path):
    with contextlib.ExitStack() as stack:
        own = Own(stack, tmp_path, replicas=2, accounts=False)
        console = look(own=own)
        # What ends with the test is nobody's complaint.
        stack.callback(console.page.close)
        fleet = console.go("fleet")
        page = console.page
        expect(page.get_by_role("banner").get_by_text("Live")).to_be_visible()
        expect(fleet.get_by_role("table").get_by_role("rowheader")).to_have_count(2)
        own.replicas[1].child.kill()
        page.get_by_role("button", name=re.compile("needs? attention")).click()
        tray = page.get_by_role("dialog", name="Needs attention")
        expect(tray.get_by_text(re.compile("1 replica (is silent|was lost)"))).to_be_visible(timeout=90_000)


def test_the_palette_finds_pages_accounts_settings_and_actions(look):
    console = look()
    page = console.page
    console.go("overview")
    field = palette(page)
    assert console.axe() == []
    field.fill("fleet")
    expect(page.get_by_role("dialog").get_by_role("option", selected=True)).to_contain_text("Fleet")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Fleet")).to_be_focused()

    palette(page).fill("ada")
    page.get_by_role("option", name="ada@example.com").click()
    drawer = page.get_by_role("dialog", name="ada@example.com")
    expect(drawer).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)

    palette(page).fill("retryMax")
    option = page.get_by_role("group", name="Settings").get_by_role("option")
    expect(option).to_have_text(re.compile("retryMaxMs"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="retryMaxMs")).to_be_visible()

    palette(page).fill("theme dark")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")

    palette(page).fill("no such thing")
    expect(page.get_by_role("dialog").get_by_role("status")).to_contain_text("Nothing is called")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_palette_is_moved_in_by_keyboard_and_gives_the_focus_back(look):
    console = look()
    page = console.page
    console.go("usage")
    button = page.get_by_role("button", name="Search and commands")
    button.focus()
    page.keyboard.press("Enter")
    field = page.get_by_role("dialog").get_by_role("combobox")
    expect(field).to_be_focused()
    options = page.get_by_role("dialog").get_by_role("option")
    expect(options.first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    assert field.get_attribute("aria-activedescendant") == options.nth(1).get_attribute("id")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(options.last).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(button).to_be_focused()


def test_privacy_mode_holds_in_the_palette_and_the_list(look):
    console = look()
    page = console.page
    console.go("overview")
    palette(page).fill("privacy mode on")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Addresses hidden")).to_be_visible()
    palette(page).fill("account-")
    expect(page.get_by_role("group", name="Accounts").get_by_role("option")).not_to_have_count(0)
    expect(page.get_by_role("dialog").get_by_text("@example.com")).to_have_count(0)
    page.get_by_role("dialog").get_by_role("combobox").fill("sim-ada")
    expect(page.get_by_role("group", name="Accounts")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("needs? attention")).click()
    tray = page.get_by_role("dialog", name="Needs attention")
    expect(tray.get_by_role("listitem")).not_to_have_count(0)
    expect(tray.get_by_text("example.com")).to_have_count(0)


def test_keys_lead_everywhere_and_can_be_switched_off(look):
    console = look()
    page = console.page
    console.go("overview")
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(sheet.get_by_role("region", name="Go to a page")).to_contain_text("Accounts")
    assert console.axe() == []
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    # In one go: the second key has to follow soon.
    page.keyboard.type("ga")
    expect(page.get_by_role("heading", name="Accounts")).to_be_focused()
    field = page.get_by_role("searchbox")
    expect(field).to_be_visible()
    page.keyboard.press("/")
    expect(field).to_be_focused()
    # In a field they are letters.
    page.keyboard.type("g?r")
    expect(field).to_have_value("g?r")
    page.get_by_role("heading", name="Accounts").focus()
    page.keyboard.press("?")
    switch = page.get_by_role("switch", name="Single-key shortcuts")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "false")
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    page.keyboard.type("gf")
    expect(page).to_have_url(re.compile("#/accounts"))
    palette(page).fill("help")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Accounts")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_header_fits_a_phone(look, theme):
    console = look(width=390, height=844, theme=theme)
    page = console.page
    console.go("settings")
    assert console.overflow() <= 0
    page.get_by_role("button", name="Search and commands").click()
    expect(page.get_by_role("dialog").get_by_role("combobox")).to_be_focused()
    assert console.axe() == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("needs? attention")).click()
    expect(page.get_by_role("dialog", name="Needs attention").get_by_role("listitem")).not_to_have_count(0)
    assert console.axe() == []
    assert console.overflow() <= 0


KEPT = "antigravity-proxy.prefs"


@pytest.mark.parametrize(
    "kept",
    [
        '{"theme": 5, "language": 5, "narrow": "yes"}',
        '{"language": ["en"], "contrast": {}, "density": null}',
        "null",
        "{",
    ],
)
def test_what_the_browser_kept_may_be_anything(look, kept):
    console = look()
    page = console.page
    page.evaluate("([name, text]) => localStorage.setItem(name, text)", [KEPT, kept])
    page.reload()
    expect(page.get_by_role("heading", name="Overview")).to_be_attached()
    usual = {"data-theme": "system", "data-contrast": "normal", "data-density": "comfortable"}
    for name, value in usual.items():
        expect(page.locator("html")).to_have_attribute(name, value)


def test_a_browser_that_lets_nothing_be_kept(look):
    console = look()
    page = console.page
    refuse = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    console.context.add_init_script(refuse)
    page.reload()
    page.get_by_role("button", name="Display").click()
    page.get_by_role("menuitemradio", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_two_tabs_keep_what_the_other_one_chose(look, own):
    console = look()
    first, second = console.page, console.context.new_page()
    second.goto(own.url)
    for page, name in ((first, "Ada"), (second, "Ben")):
        page.goto(f"{own.url}/#/accounts?q={name.lower()}")
        page.get_by_role("button", name="Saved views").click()
        page.get_by_role("menuitem", name="Save this view").click()
        page.get_by_role("dialog").get_by_label("Name").fill(name)
        page.keyboard.press("Enter")
        expect(page.get_by_text(f"View “{name}” saved")).to_be_visible()
    for page in (first, second):
        page.get_by_role("button", name="Saved views").click()
        for name in ("Ada", "Ben"):
            expect(page.get_by_role("menuitemradio", name=name)).to_be_visible()
        page.keyboard.press("Escape")
    first.get_by_role("button", name="Display").click()
    first.get_by_role("menuitemcheckbox", name="Privacy mode").click()
    expect(second.get_by_text("Addresses hidden")).to_be_visible()
