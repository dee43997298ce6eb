"""Live, logs, settings, keys, usage, requests and audit of the console, in a real Chromium against the real gateway."""

import contextlib
import http.client
import json
import re
import threading
import urllib.parse

import pytest
from fleet import KEY, message, until
from own import DEMO, DRAWN, PASSWORD, Own, call, counted, logged, surveyed
from playwright.sync_api import expect

OPUS, FLASH = "claude-opus-4-6-thinking", "gemini-3-flash"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("operate")
    scenario = folder / "slow.json"
    slow = {"when": {"text": "SLOW"}, "then": {"delay_ms": 600_000}}
    scenario.write_text(json.dumps(json.loads(DEMO.read_text()) | {"rules": [slow]}))
    with contextlib.ExitStack() as stack:
        yield surveyed(Own(stack, folder, scenario))


@pytest.fixture
def slow(own):
    """A request that is not answered until somebody ends it; its status comes into the list."""
    ended = []
    before = {one["id"] for one in call(own, "GET", "/api/requests/live")["requests"]}
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(own.url).netloc, timeout=120)

    def ask():
        headers = {"content-type": "application/json", "x-api-key": KEY, "anthropic-version": "2023-06-01"}
        with contextlib.suppress(OSError, http.client.HTTPException):
            # A stream would begin with pings when it takes long.
            connection.request("POST", "/v1/messages", json.dumps(message(OPUS, "SLOW", False)), headers)
            answer = connection.getresponse()
            answer.read()
            ended.append(answer.status)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()

    def there():
        return [one["id"] for one in call(own, "GET", "/api/requests/live")["requests"] if one["id"] not in before]

    until("the request is in flight", there, 30)
    yield there()[0], ended, thread
    for one in there():
        with contextlib.suppress(OSError):
            call(own, "POST", f"/api/requests/{one}/cancel")
    thread.join(30)


def test_a_live_request_is_seen_and_cancelled(look, slow):
    name, ended, thread = slow
    console = look()
    live = console.go("live")
    row = live.get_by_role("row").filter(has_text=name[-12:])
    expect(row).to_contain_text("Waiting for an answer")
    expect(row).to_contain_text(OPUS)
    age = row.locator("x-time")
    first = age.inner_text()
    expect(age).not_to_have_text(first)
    assert console.axe() == []
    row.get_by_role("button", name=f"Cancel request {name}").focus()
    console.page.keyboard.press("Enter")
    question = console.page.get_by_role("alertdialog", name="Cancel this request?")
    expect(question.get_by_role("button", name="Cancel", exact=True)).to_be_focused()
    question.get_by_role("button", name="Cancel request").click()
    expect(console.page.get_by_text("was cancelled")).to_be_visible()
    expect(row).to_have_count(0)
    thread.join(30)
    assert ended and ended[0] >= 400, ended


def test_live_says_when_nothing_runs(look):
    console = look(theme="dark", width=390)
    live = console.go("live")
    expect(live.get_by_role("heading", name="Nothing in flight")).to_be_visible()
    assert console.axe() == []
    assert console.overflow() <= 0


def test_logs_come_as_they_are_written(look, own):
    console = look()
    logs = console.go("logs")
    page = console.page
    lines = logs.get_by_role("listitem")
    expect(lines.first).to_be_visible()
    own.ask("no-such-model")
    expect(lines.filter(has_text="model_unknown").last).to_be_visible()
    assert console.axe() == []
    page.get_by_role("button", name="Pause").click()
    own.ask("no-such-model")
    expect(page.get_by_role("button", name=re.compile("Resume · [1-9]"))).to_be_visible()
    page.get_by_role("button", name=re.compile("Resume")).click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    ids = page.evaluate("document.querySelector('page-logs').tail.lines.map((line) => line.id)")
    assert len(ids) == len(set(ids)) > 2


def test_logs_are_found_filtered_and_downloaded(look, own):
    own.ask("no-such-model")
    own.ask(FLASH)
    console = look()
    logs = console.go("logs")
    page = console.page
    lines = logs.get_by_role("listitem")
    page.get_by_role("group", name="Levels").get_by_role("button", name=re.compile("WARN")).click()
    expect(lines.filter(has_text="SUCCESS")).to_have_count(0)
    expect(lines.filter(has_text="WARN")).not_to_have_count(0)
    expect(page).to_have_url(re.compile("level=WARN"))
    page.get_by_role("searchbox").fill("/model_unk[n]own/")
    # It is asked for once nobody types any more.
    expect(page).to_have_url(re.compile("q=%2Fmodel_unk"))
    expect(lines.filter(has_text="model_unknown")).not_to_have_count(0)
    page.get_by_role("searchbox").fill("/(/")
    expect(logs.get_by_role("alert")).to_contain_text("no regular expression")
    page.get_by_role("searchbox").fill("model_unknown")
    expect(lines.filter(has_text="model_unknown")).not_to_have_count(0)
    expect(page.get_by_role("button", name="Download")).to_be_enabled()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download").click()
    rows = [json.loads(line) for line in saved.value.path().read_text(encoding="utf-8").splitlines()]
    assert rows and all(row["level"] == "WARN" and "model_unknown" in row["message"] for row in rows)
    lines.last.get_by_role("button").click()
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_text("antigravity_proxy::request")).to_be_visible()
    assert console.axe() == []
    drawer.get_by_role("button", name="All lines of this request").click()
    expect(logs.get_by_text("Lines of the request")).to_be_visible()
    page.get_by_role("searchbox").fill("nothing says this")
    expect(logs.get_by_role("heading", name="No line matches")).to_be_visible()


def test_a_conflict_is_told_and_settled(look, own):
    console = look()
    console.forgive("status of 409", f"409 {own.url}/api/settings")
    page = console.page
    page.goto(f"{own.url}/#/settings/routing")
    field = page.get_by_role("textbox", name="retryBaseMs")
    field.fill("99")
    expect(page.get_by_text("At least 100.")).to_be_visible()
    expect(page.get_by_role("button", name="Review")).to_be_disabled()
    assert console.axe() == []
    field.fill("1500")
    page.get_by_role("button", name="Review").click()
    review = page.get_by_role("dialog", name="Apply 1 change?")
    expect(review).to_be_visible()
    call(own, "PATCH", "/api/settings", {"settings": {"retryBaseMs": 1200}})
    review.get_by_role("button", name="Apply").click()
    conflict = page.get_by_role("dialog", name="Somebody else changed settings")
    expect(conflict.get_by_role("row", name=re.compile("retryBaseMs"))).to_contain_text("1,200")
    assert console.axe() == []
    conflict.get_by_role("button", name="Apply mine over them").click()
    expect(page.get_by_text("1 setting changed")).to_be_visible()
    assert call(own, "GET", "/api/settings")["settings"]["retryBaseMs"] == 1500
    call(own, "PATCH", "/api/settings", {"settings": {"retryBaseMs": None}})


@pytest.mark.parametrize("width", [1440, 820, 390])
def test_what_was_not_saved_is_kept_and_can_be_saved_again(look, own, width):
    console = look(width=width)
    console.forgive("status of 503", f"503 {own.url}/api/settings")
    page = console.page
    page.goto(f"{own.url}/#/settings/routing")
    field = page.get_by_role("textbox", name="retryBaseMs")
    field.fill("1700")
    away = {"status": "error", "error": "The store is away"}
    console.context.route("**/api/settings", lambda route: route.fulfill(status=503, json=away))
    page.get_by_role("button", name="Review").click()
    page.get_by_role("dialog").get_by_role("button", name="Apply").click()
    told = page.locator(".toast", has_text="The store is away")
    expect(told).to_be_visible()
    expect(field).to_have_value("1700")
    console.context.unroute("**/api/settings")
    # It stays until it is put away, and is not in the way of the next try.
    page.evaluate(DRAWN)
    bar = page.get_by_role("region", name="Changes that are not applied").bounding_box()
    assert told.bounding_box()["y"] + told.bounding_box()["height"] <= bar["y"]
    page.get_by_role("button", name="Review").click()
    page.get_by_role("dialog").get_by_role("button", name="Apply").click()
    expect(page.get_by_text("1 setting changed")).to_be_visible()
    call(own, "PATCH", "/api/settings", {"settings": {"retryBaseMs": None}})


def test_fields_say_when_they_count(look, own):
    console = look()
    page = console.page
    page.goto(f"{own.url}/#/settings/general?only=all")
    rows = page.locator(".settings-row")
    expect(rows.filter(has_text="streamKeepaliveMs")).to_contain_text("Live")
    expect(rows.filter(has_text="requestBodyLimit")).to_contain_text("After restart")
    expect(rows.filter(has_text="publicDir")).to_contain_text("Fixed by environment")
    expect(rows.filter(has=page.get_by_text("webuiPassword", exact=True))).to_contain_text("Secret, never shown")
    assert console.axe() == []


def test_presets_are_kept_shown_and_applied(look, own):
    console = look()
    page = console.page
    page.goto(f"{own.url}/#/settings/presets")
    page.get_by_role("button", name="Save as preset").click()
    dialog = page.get_by_role("dialog", name="Save as preset")
    dialog.get_by_label("Name").fill("Night")
    dialog.get_by_role("button", name="JSON").click()
    dialog.get_by_label("Settings as JSON").fill('{"maxRetries": 9}')
    assert console.axe() == []
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", name="Night")).to_be_visible()
    page.get_by_role("button", name="Apply preset Night").click()
    review = page.get_by_role("dialog", name="Apply 1 change?")
    expect(review.get_by_role("row", name=re.compile("maxRetries"))).to_contain_text("9")
    review.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("listitem").filter(has_text="Night")).to_contain_text("In force")
    page.get_by_role("button", name="Actions for Night").click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(page.get_by_text("Preset “Night” deleted")).to_be_visible()
    expect(page.get_by_role("heading", name="Night")).to_have_count(0)
    assert console.axe() == []
    call(own, "PATCH", "/api/settings", {"settings": {"maxRetries": None}})


def test_a_model_stands_in_for_another(look, own):
    console = look()
    page = console.page
    page.goto(f"{own.url}/#/settings/models")
    page.get_by_label("Asked for").fill("my-model")
    page.get_by_label("Answered by").fill(FLASH)
    page.get_by_role("button", name="Add").click()
    row = page.get_by_role("row", name=re.compile("my-model"))
    expect(row).to_contain_text(FLASH)
    # It is shown before the gateway has it.
    expect(page.get_by_text("my-model has a stand-in")).to_be_visible()
    assert own.ask("my-model") == 200
    assert console.axe() == []
    row.get_by_role("button", name="Remove the stand-in for my-model").click()
    expect(page.get_by_text("my-model answers for itself again")).to_be_visible()
    expect(row).to_have_count(0)
    assert own.ask("my-model") == 400


def test_the_choice_of_an_account_is_explained(look, own):
    console = look()
    page = console.page
    page.goto(f"{own.url}/#/settings/explain")
    page.get_by_label("Model", exact=True).fill(OPUS)
    page.get_by_role("button", name="Explain").click()
    table = page.get_by_role("region", name="Accounts and their scores")
    expect(table.get_by_role("row", name=re.compile("Chosen"))).to_have_count(1)
    expect(table.get_by_role("row", name=re.compile("eli@example.com"))).to_contain_text("Banned")
    assert console.axe() == []


def test_the_look_and_the_language_are_chosen(look, own):
    console = look()
    page = console.page
    page.goto(f"{own.url}/#/settings/appearance")
    page.get_by_role("radio", name="Dark").check()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert console.axe() == []
    page.get_by_role("radio", name="Türkçe").check()
    expect(page.get_by_role("heading", name="Ayarlar")).to_be_visible()


def test_the_password_is_changed_and_everybody_logged_out(look, tmp_path):
    with contextlib.ExitStack() as stack:
        own = Own(stack, tmp_path, WEBUI_PASSWORD="")
        call(own, "POST", "/api/config/password", {"newPassword": PASSWORD})
        console = look(own=own)
        # What ends with the test is nobody's complaint.
        stack.callback(console.page.close)
        page = console.page
        page.goto(f"{own.url}/#/settings/security")
        page.get_by_label("Present password").fill("wrong one")
        page.get_by_label("New password").fill("another good one")
        page.get_by_label("Once more").fill("another good one")
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_role("alert").last).not_to_be_empty()
        console.forgive("status of 403", f"403 {own.url}/api/config/password")
        # What it asks for when the sessions end is refused.
        console.forgive("status of 401", f"401 {own.url}/")
        page.get_by_label("Present password").fill(PASSWORD)
        # Twice, as a quick hand does: it is one change, not also a wrong password.
        page.get_by_role("button", name="Change password").dblclick()
        expect(page.get_by_text("The password is changed")).to_be_visible()
        expect(page.get_by_role("button", name="Change password")).to_be_enabled()
        expect(page.locator("page-settings").get_by_role("alert")).to_have_count(0)
        assert console.axe() == []
        page.get_by_role("button", name="Log out everywhere").click()
        page.get_by_role("alertdialog").get_by_role("button", name="Log out everywhere").click()
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_key_is_made_used_rotated_and_revoked(look, own):
    console = look()
    keys = console.go("keys")
    page = console.page
    keys.get_by_role("button", name="Create key").first.click()
    dialog = page.get_by_role("dialog", name="New key")
    expect(dialog.get_by_label("Person or machine")).to_be_focused()
    dialog.get_by_label("Person or machine").fill("grace")
    dialog.get_by_label("Models it may use").fill("gemini-*")
    dialog.get_by_label("Expiry").select_option("30")
    assert console.axe() == []
    dialog.get_by_role("button", name="Create key").click()
    told = page.get_by_role("dialog", name="Secret of grace")
    secret = told.get_by_role("region", name="Secret").inner_text().strip()
    assert secret.startswith("agp_")
    assert console.axe() == []
    told.get_by_role("button", name="I have copied it").click()
    until("it is forgotten", lambda: secret not in page.content())
    assert own.ask(FLASH, key=secret) == 200
    row = keys.get_by_role("row").filter(has_text="grace")
    expect(row).to_contain_text("gemini-*")

    def choose(item):
        row.get_by_role("button", name="Actions for grace").click()
        page.get_by_role("menuitem", name=item).click()

    choose("Edit")
    page.get_by_role("dialog", name="Edit grace").get_by_label("Models it may use").fill("")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(row).to_contain_text("All models")
    choose("Rotate secret")
    page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
    page.get_by_role("button", name="I have copied it").click()
    expect(row).to_contain_text("Old secret works for")
    choose("Revoke")
    page.get_by_role("alertdialog").get_by_role("button", name="Revoke key").click()
    expect(row).to_have_count(0)
    keys.get_by_role("button", name=re.compile("^Revoked")).click()
    expect(row).to_contain_text("Revoked")
    until("the secret is refused", lambda: own.ask(FLASH, key=secret) == 401, 15)


def test_usage_is_told_apart_compared_and_exported(look, own):
    for model in (FLASH, OPUS, FLASH):
        assert own.ask(model) == 200
    counted(own, FLASH, OPUS)
    console = look()
    usage = console.go("usage")
    page = console.page
    expect(usage.get_by_role("row", name=re.compile(FLASH))).to_be_visible()
    usage.get_by_role("button", name="As a table").click()
    expect(usage.get_by_role("columnheader", name=FLASH)).to_be_visible()
    assert console.axe() == []
    page.get_by_role("group", name="Grouped by").get_by_role("button", name="Outcome").click()
    expect(usage.get_by_role("row", name=re.compile("Served"))).to_be_visible()
    page.get_by_label("Compare with the period before").check()
    expect(usage.get_by_text("nothing before").first).to_be_visible()
    page.get_by_role("button", name="90 days").click()
    expect(usage.get_by_text("not kept for so long")).to_be_visible()
    for kind in ("CSV", "JSON"):
        with page.expect_download() as saved:
            page.get_by_role("button", name="Export").click()
            page.get_by_role("menuitem", name=kind).click()
        text = saved.value.path().read_text(encoding="utf-8")
        assert FLASH in text and "inputTokens" in text
    assert console.axe() == []


def test_the_story_of_a_served_request_names_its_account(look, own):
    assert own.ask(FLASH) == 200
    logged(own, FLASH)
    console = look()
    console.go("requests").get_by_role("row").filter(has_text=FLASH).first.get_by_role("button").click()
    story = console.page.get_by_role("dialog", name="Story of a request")
    story.get_by_role("link", name=re.compile("@example.com$")).click()
    expect(console.page.get_by_role("dialog", name=re.compile("@example.com"))).to_be_visible()


def test_the_story_of_a_failed_request(look, own):
    assert own.ask("no-such-model") == 400
    logged(own, "model_unknown")
    console = look()
    requests = console.go("requests")
    page = console.page
    requests.get_by_role("button", name="Failed").click()
    row = requests.get_by_role("row").filter(has_text="model_unknown").first
    expect(row).to_contain_text("Client’s fault")
    assert console.axe() == []
    row.get_by_role("button").click()
    story = page.get_by_role("dialog", name="Story of a request")
    expect(story.get_by_text("model_unknown").first).to_be_visible()
    expect(story.get_by_role("region", name="Its log lines").get_by_role("listitem").first).to_be_visible()
    assert console.axe() == []
    story.get_by_role("link", name="Open in Logs").click()
    expect(page.get_by_text("Lines of the request")).to_be_visible()


def test_no_page_spoils_the_look_of_a_story(look, own):
    assert own.ask("no-such-model") == 400
    logged(own, "model_unknown")
    console = look()
    for page in ("capacity", "logs", "accounts"):
        console.go(page)
    requests = console.go("requests", state="failed")
    requests.get_by_role("row").filter(has_text="model_unknown").first.get_by_role("button").click()
    lines = console.page.get_by_role("dialog").get_by_role("region", name="Its log lines")
    when = lines.get_by_role("time").first
    expect(when).to_be_visible()
    # On one line, as it is written.
    assert when.bounding_box()["height"] < 30


def test_the_audit_says_who_changed_what(look, own):
    call(own, "PATCH", "/api/settings", {"settings": {"maxRetries": 4}})
    call(own, "PATCH", "/api/settings", {"settings": {"maxRetries": 6}})
    console = look()
    audit = console.go("audit")
    page = console.page
    row = audit.get_by_role("row").filter(has_text="maxRetries").first
    expect(row.locator("del")).to_have_text("4")
    expect(row.locator("ins")).to_have_text("6")
    page.get_by_label("Action").select_option("settings")
    expect(audit.get_by_role("row").filter(has_text="session.open")).to_have_count(0)
    expect(row).to_contain_text("settings.change")
    assert console.axe() == []
    row.get_by_role("link", name=re.compile("log lines")).click()
    expect(page.get_by_text("Lines of the request")).to_be_visible()
    call(own, "PATCH", "/api/settings", {"settings": {"maxRetries": None}})


@pytest.mark.parametrize("language", ["zh-CN", "id-ID", "pt-BR", "tr-TR"])
def test_every_page_speaks_each_language(look, own, language):
    own.ask(FLASH)
    console = look(language=language, log_in=False)
    console.page.locator("[name=password]").fill(PASSWORD)
    console.page.keyboard.press("Enter")
    console.page.get_by_role("navigation").first.wait_for()
    for page in ("live", "logs", "settings", "keys", "usage", "requests", "audit"):
        text = console.go(page).inner_text()
        assert not re.search(rf"\b(app|{page})\.[a-z]+\.\w", text), text


def refused_at_first(console, path, asked, status, why):
    """A page for whose reading nothing but a refusal comes, until the pattern is let through; with the pattern, the page."""
    console.forgive(f"status of {status}", f"{status} {console.own.url}/api/{asked}")
    pattern = re.compile(rf"/api/{asked}(\?|$)")
    refusal = {"status": "error", "error": why}
    console.context.route(pattern, lambda route: route.fulfill(status=status, json=refusal))
    # What the first page had asked for is kept in memory otherwise, and would be shown as old.
    console.page.reload()
    view = console.go(path.removeprefix("requests/"))
    expect(view.get_by_role("alert")).to_contain_text(why)
    return pattern, view


@pytest.mark.parametrize("path", ["requests/live", "logs", "settings", "keys", "usage", "audit"])
def test_what_fails_says_so_and_goes_on(look, path):
    console = look()
    pattern, view = refused_at_first(console, path, path, 500, "It broke")
    # Else it may have tried again by itself.
    console.unseen()
    console.context.unroute(pattern)
    view.get_by_role("button", name="Try again").click()
    expect(view.locator(".skeleton")).to_have_count(0)
    expect(view.get_by_role("alert")).to_have_count(0)
    assert console.axe() == []


def stored(own, name):
    return next(one for one in call(own, "GET", "/api/keys")["keys"] if one["name"] == name)


def choose_of_key(console, name, item):
    """Opens what the menu of a key leads to."""
    console.page.get_by_role("button", name=f"Actions for {name}", exact=True).click()
    console.page.get_by_role("menuitem", name=item).click()
    return console.page.get_by_role("dialog")


def test_two_who_change_a_key_lose_nothing(look, own):
    call(own, "POST", "/api/keys", {"name": "shared", "models": ["gemini-*"]})
    console = look()
    console.go("keys")
    dialog = choose_of_key(console, "shared", "Edit")
    dialog.get_by_label("Person or machine").fill("renamed")
    # Somebody else, while it is open.
    path = f"/api/keys/{stored(own, 'shared')['id']}"
    call(own, "PATCH", path, {"models": ["claude-*"], "expiresInDays": 9})
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(console.page.get_by_text("renamed is changed")).to_be_visible()
    expect(dialog).to_have_count(0)
    now = stored(own, "renamed")
    assert now["models"] == ["claude-*"] and now["expiresAt"]
    console.page.get_by_role("button", name="Undo").click()
    expect(console.page.get_by_role("row").filter(has_text="shared")).to_contain_text("claude-*")
    # What is refused is still there, to be tried again.
    call(own, "POST", "/api/keys", {"name": "taken"})
    choose_of_key(console, "shared", "Edit").get_by_label("Person or machine").fill("taken")
    console.page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_be_visible()
    expect(dialog.get_by_label("Person or machine")).to_have_value("taken")
    console.forgive("status of 409", f"409 {own.url}{path}")
    dialog.get_by_label("Person or machine").fill("free")
    console.page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    assert stored(own, "free")["models"] == ["claude-*"]
    choose_of_key(console, "free", "Edit").get_by_role("button", name="Save", exact=True).click()
    expect(dialog).to_have_count(0)


def test_a_quick_hand_makes_and_rotates_once(look, own):
    console = look()
    keys = console.go("keys")
    page = console.page
    sent = []
    page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    dialog = page.get_by_role("dialog")
    keys.get_by_role("button", name="Create key").first.click()
    dialog.get_by_label("Person or machine").fill("quick")
    for _ in range(2):
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Secret of quick")).to_be_focused()
    # Late, when the secret is told already: it is told this once.
    page.keyboard.press("Enter")
    page.get_by_role("button", name="I have copied it").click()
    expect(dialog).to_have_count(0)
    choose_of_key(console, "quick", "Rotate secret")
    dialog.get_by_role("button", name="Rotate").dblclick()
    page.get_by_role("button", name="I have copied it").click()
    expect(dialog).to_have_count(0)
    assert [url.rsplit("/", 1)[1] for url in sent] == ["keys", "rotate"]


def test_what_is_entered_while_it_is_applied_is_kept(look, own):
    console = look()
    page = console.page
    page.goto(f"{own.url}/#/settings/routing")
    held = []

    def hold(route):
        return held.append(route) if route.request.method == "PATCH" else route.continue_()

    page.route("**/api/settings", hold)
    page.get_by_role("textbox", name="retryBaseMs").fill("1500")
    page.get_by_role("button", name="Review").click()
    page.get_by_role("dialog", name="Apply 1 change?").get_by_role("button", name="Apply").click()
    until("it is on its way", lambda: page.evaluate("1") and held, 20)
    page.keyboard.press("Escape")
    page.get_by_role("textbox", name="maxRetries").fill("7")
    held[0].continue_()
    expect(page.get_by_text("1 setting changed")).to_be_visible()
    expect(page.get_by_role("textbox", name="maxRetries")).to_have_value("7")
    expect(page.get_by_role("region", name="Changes")).to_contain_text("1")
    page.unroute("**/api/settings")
    page.get_by_role("button", name="Discard").click()
    call(own, "PATCH", "/api/settings", {"settings": {"retryBaseMs": None}})


def test_a_double_click_takes_one_thing_away(look, own):
    """What comes second is meant for what was there, not for the next one that has moved up."""
    mapping = {f"stand-in-{n}": {"mapping": FLASH} for n in range(3)}
    call(own, "PATCH", "/api/settings", {"settings": {"modelMapping": mapping, "maxRetries": 9}})
    console = look()
    page = console.page
    page.goto(f"{own.url}/#/settings/models")
    page.get_by_role("button", name="Remove the stand-in for stand-in-0").dblclick()
    expect(page.get_by_text("stand-in-0 answers for itself again")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("stand-in-"))).to_have_count(2)
    page.get_by_role("button", name="Remove the stand-in for stand-in-1").click()
    expect(page.get_by_text("stand-in-1 answers for itself again")).to_be_visible()
    page.get_by_role("button", name="Undo").last.dblclick()
    expect(page.get_by_text("stand-in-1 has a stand-in")).to_be_visible()
    assert "stand-in-0" not in call(own, "GET", "/api/settings")["settings"]["modelMapping"]

    page.goto(f"{own.url}/#/settings/routing")
    page.get_by_role("button", name="Use the built-in value of maxRetries").dblclick()
    expect(page.get_by_role("textbox", name="maxRetries")).to_have_value("")
    page.get_by_role("button", name="Discard").click()

    page.goto(f"{own.url}/#/settings/presets")
    page.get_by_role("button", name="Save as preset").click()
    leave = page.get_by_role("dialog").get_by_role("button", name=re.compile("^Leave out"))
    expect(leave).not_to_have_count(0)
    there = leave.count()
    leave.first.dblclick()
    expect(leave).to_have_count(there - 1)
    page.keyboard.press("Escape")
    call(own, "PATCH", "/api/settings", {"settings": {"modelMapping": None, "maxRetries": None}})


@pytest.mark.parametrize("path", ["requests/live", "logs", "settings", "keys", "usage", "audit", "requests"])
def test_what_failed_at_first_comes_by_itself(look, path):
    console = look()
    pattern, view = refused_at_first(console, path, "logs" if path == "requests" else path, 503, "The store is away")
    console.context.unroute(pattern)
    expect(view.get_by_role("alert")).to_have_count(0)
    expect(view.locator(".skeleton")).to_have_count(0)


def test_a_change_whose_answer_is_lost_may_have_been_made(look, own):
    console = look()
    page = console.page
    keys = console.go("keys")
    console.forgive("ERR_CONNECTION_RESET")

    def lose(route):
        if route.request.method == "POST":
            route.fetch()
            route.abort("connectionreset")
        else:
            route.continue_()

    console.context.route("**/api/keys", lose)
    keys.get_by_role("button", name="Create key").click()
    dialog = page.get_by_role("dialog")
    name = dialog.get_by_label("Person or machine")
    name.fill("laptop of nobody")
    dialog.get_by_role("button", name="Create key").click()
    expect(dialog.get_by_role("alert")).to_contain_text("It may have been done all the same")
    expect(name).to_have_value("laptop of nobody")
    console.context.unroute("**/api/keys")
    dialog.get_by_role("button", name="Cancel").click()
    expect(keys.get_by_role("row").filter(has_text="laptop of nobody")).to_be_visible()


def test_a_session_that_could_not_be_ended_is_not_shown_as_ended(look, own):
    console = look()
    console.forgive("status of 503", f"503 {own.url}/api/session")
    page = console.page
    console.go("audit")
    away = {"status": "error", "error": "The store is away"}
    console.context.route("**/api/session", lambda route: route.fulfill(status=503, json=away))
    page.get_by_role("button", name="Log out").click()
    expect(page.locator(".toast", has_text="The store is away")).to_be_visible()
    expect(page.get_by_role("heading", name="Audit", exact=True)).to_be_visible()
    console.context.unroute("**/api/session")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
