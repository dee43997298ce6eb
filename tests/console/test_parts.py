"""Presets as a form, the way back from the audit, and what else makes an operator's day shorter."""

import contextlib
import csv
import datetime
import json
import re

import pytest
from fleet import until
from own import PAGES, Own, call, counted, logged, surveyed
from playwright.sync_api import expect

OPUS, FLASH = "claude-opus-4-6-thinking", "gemini-3-flash"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield surveyed(Own(stack, tmp_path_factory.mktemp("parts")))


def preset(own, name):
    return next((one for one in call(own, "GET", "/api/server/presets")["presets"] if one["name"] == name), None)


def test_a_preset_is_made_and_changed_as_a_form(look, own):
    console = look()
    page = console.page
    page.goto(f"{own.url}/#/settings/presets")
    page.get_by_role("button", name="Actions for Many Accounts (10+)").click()
    page.get_by_role("menuitem", name="Copy as a new preset").click()
    dialog = page.get_by_role("dialog", name="Save as preset")
    field = dialog.get_by_role("textbox", name="maxRetries")
    expect(field).to_have_value("3")
    expect(field).to_have_accessible_description(re.compile("now 5"))
    assert console.axe() == []
    field.fill("50")
    expect(dialog.get_by_role("alert")).to_contain_text("At most 20")
    expect(dialog.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    field.fill("")
    expect(dialog.get_by_role("alert")).to_contain_text("leave it out")
    field.fill("8")
    dialog.get_by_role("button", name="Leave out capacityBackoffTiersMs").click()
    expect(dialog.get_by_role("textbox", name="capacityBackoffTiersMs")).to_have_count(0)
    expect(dialog.get_by_role("button", name="Leave out switchAccountDelayMs")).to_be_focused()
    dialog.get_by_role("combobox", name="Another setting").select_option("logLevel")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("textbox", name="logLevel")).to_be_focused()
    dialog.get_by_role("textbox", name="logLevel").fill("warn")
    dialog.get_by_label("Name").fill("Default (3-5 Accounts)")
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("already")
    dialog.get_by_label("Name").fill("Busy")
    dialog.get_by_label("Description").fill("For the afternoon")
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", name="Busy")).to_be_visible()
    kept = preset(own, "Busy")
    assert kept["description"] == "For the afternoon"
    assert kept["config"]["maxRetries"] == 8 and kept["config"]["logLevel"] == "warn"
    assert "capacityBackoffTiersMs" not in kept["config"]
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="Busy"))
    card.get_by_text(re.compile("^All [0-9]+ settings")).click()
    expect(card.get_by_role("region", name="Retries and waits")).to_contain_text("now 5")

    page.get_by_role("button", name="Actions for Busy").click()
    page.get_by_role("menuitem", name="Edit preset").click()
    dialog = page.get_by_role("dialog", name="Edit preset")
    dialog.get_by_role("button", name="JSON").click()
    text = json.loads(dialog.get_by_label("Settings as JSON").input_value())
    assert text["maxRetries"] == 8
    dialog.get_by_label("Settings as JSON").fill("{")
    dialog.get_by_role("button", name="Form").click()
    expect(dialog.get_by_role("alert")).to_contain_text("no JSON object")
    dialog.get_by_label("Settings as JSON").fill('{"maxRetries": 4, "retryBaseMs": 1500}')
    dialog.get_by_role("button", name="Form").click()
    expect(dialog.get_by_role("textbox", name="retryBaseMs")).to_have_value("1500")
    dialog.get_by_role("button", name="Leave out maxRetries").click()
    dialog.get_by_label("Name").fill("Quiet")
    dialog.get_by_role("button", name="Save", exact=True).click()
    # Renamed it is shown before it is changed.
    expect(page.get_by_text("Preset “Quiet” saved")).to_be_visible()
    expect(page.get_by_role("heading", name="Quiet")).to_be_visible()
    expect(page.get_by_role("heading", name="Busy")).to_have_count(0)
    assert preset(own, "Quiet")["config"] == {"retryBaseMs": 1500} and preset(own, "Busy") is None
    call(own, "DELETE", "/api/server/presets/Quiet")


def test_fields_say_their_range_and_what_is_built_in(look, own):
    console = look()
    page = console.page
    page.goto(f"{own.url}/#/settings/routing?q=retryBaseMs")
    row = page.locator(".settings-row")
    expect(row.get_by_role("listitem").filter(has_text="100 to 10,000 ms")).to_be_visible()
    expect(row.get_by_role("listitem").filter(has_text="Built-in: 1,000 ms")).to_be_visible()


def test_a_change_is_put_back_from_the_audit(look, own):
    call(own, "PATCH", "/api/settings", {"settings": {"maxRetries": 4, "retryBaseMs": 700}})
    console = look()
    console.forgive("status of 409", f"409 {own.url}/api/settings")
    audit = console.go("audit")
    page = console.page
    rows = audit.get_by_role("row").filter(has_text="settings.change")
    rows.first.get_by_role("button", name=re.compile("Revert")).click()
    dialog = page.get_by_role("dialog", name="Put these settings back?")
    expect(dialog.get_by_role("row", name=re.compile("maxRetries"))).to_contain_text(re.compile("4.*5", re.S))
    assert console.axe() == []
    # Somebody else changes one of them meanwhile: nothing is lost without being seen.
    call(own, "PATCH", "/api/settings", {"settings": {"maxRetries": 9}})
    dialog.get_by_role("button", name="Put back").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Somebody changed settings meanwhile")
    expect(dialog.get_by_role("status")).to_contain_text("maxRetries")
    expect(dialog.get_by_role("row", name=re.compile("maxRetries"))).to_contain_text("9")
    dialog.get_by_role("button", name="Put back").click()
    expect(page.get_by_text("2 settings put back")).to_be_visible()
    after = {row["key"]: row for row in call(own, "GET", "/api/settings")["rows"]}
    assert after["maxRetries"]["value"] == 5 and "stored" not in after["maxRetries"]
    assert after["retryBaseMs"]["value"] == 1000
    # The way back is a change like any other.
    expect(rows.first).to_contain_text(re.compile(r"maxRetries\s+9.*retryBaseMs\s+700", re.S))
    rows.first.get_by_role("button", name=re.compile("Revert")).click()
    expect(dialog.get_by_role("row", name=re.compile("maxRetries"))).to_contain_text("9")
    page.keyboard.press("Escape")
    expect(audit.get_by_role("row").filter(has_text="session.open").get_by_role("button", name="Revert")).to_have_count(0)


def test_the_audit_is_exported(look, own):
    call(own, "PATCH", "/api/settings", {"settings": {"switchAccountDelayMs": 10}})
    console = look()
    console.go("audit", action="settings")
    page = console.page
    files = {}
    for kind in ("CSV", "JSON"):
        with page.expect_download() as saved:
            page.get_by_role("button", name=re.compile("^Export")).click()
            page.get_by_role("menuitem", name=kind).click()
        files[kind] = saved.value.path().read_text(encoding="utf-8")
        expect(page.get_by_text(re.compile("records? saved")).last).to_be_visible()
    rows = list(csv.DictReader(files["CSV"].splitlines()))
    records = json.loads(files["JSON"])
    assert len(rows) == len(records) > 0
    assert all(row["action"].startswith("settings") for row in rows)
    assert any("switchAccountDelayMs: – → 10" in row["changes"] for row in rows)
    assert {int(row["number"]) for row in rows} == {record["number"] for record in records}


def test_the_choice_tells_what_it_knows_of_each_account(look, own):
    console = look()
    # It may be asked for once more before it is told that the mode is off.
    console.forgive("status of 403", f"403 {own.url}/api/strategy/health")
    page = console.page
    page.goto(f"{own.url}/#/settings/explain")
    section = page.get_by_role("region", name="What the choice knows of each account")
    expect(section).to_contain_text("developer mode, which is off")
    assert console.axe() == []
    section.get_by_role("button", name="Switch it on").click()
    table = section.get_by_role("region", name="Health and buckets of the accounts")
    row = table.get_by_role("row").filter(has_text="ada@example.com")
    expect(row.get_by_role("progressbar", name="Bucket of ada@example.com")).to_have_attribute("max", "50")

    def trackers():
        return {one["email"]: one for one in call(own, "GET", "/api/strategy/health")["trackers"]["accounts"]}

    def score():
        # It begins with 70; what was served and time add to it.
        said = f"{trackers()['ada@example.com']['healthScore']:.1f}".removesuffix(".0")
        return 70 <= float(said) < 90 and f"{said} of 100" in row.inner_text()

    until("the score is shown", score, 60)
    before = trackers()
    assert own.ask(FLASH) == 200

    def used():
        return [email for email, one in trackers().items() if one["lastUsed"] != before[email]["lastUsed"]]

    one = until("one was used", used)[0]
    expect(table.get_by_role("row").filter(has_text=one)).not_to_contain_text("never")
    table.get_by_role("button", name="Account").click()
    expect(page).to_have_url(re.compile("sort=email"))
    expect(table.get_by_role("rowheader").first).to_have_text("ada@example.com")
    assert console.axe() == []
    call(own, "PATCH", "/api/settings", {"settings": {"accountSelection.strategy": "sticky"}})
    expect(section).to_contain_text("The strategy sticky does not go by it")
    call(own, "PATCH", "/api/settings", {"settings": {"accountSelection.strategy": None, "devMode": None}})
    expect(section).to_contain_text("developer mode, which is off")


def test_log_lines_of_a_range_of_time(look, own):
    assert own.ask("no-such-model") == 400
    logged(own, "model_unknown")
    console = look()
    logs = console.go("logs", q="model_unknown")
    page = console.page
    lines = logs.get_by_role("listitem")
    expect(lines).not_to_have_count(0)
    when = logs.get_by_role("combobox", name="Time")
    when.select_option("15m")
    expect(lines).not_to_have_count(0)
    expect(logs.get_by_text("Live", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile("from=15m"))
    # What comes is added as long as the range has no end.
    shown = lines.count()
    assert own.ask("no-such-model") == 400
    expect(lines).not_to_have_count(shown)
    when.select_option("own")
    assert console.axe() == []
    ago = datetime.datetime.now() - datetime.timedelta(days=2)
    logs.get_by_label("From", exact=True).fill(ago.strftime("%Y-%m-%dT%H:%M"))
    logs.get_by_label("To", exact=True).fill((ago + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M"))
    logs.get_by_label("To", exact=True).press("Tab")
    expect(logs.get_by_role("heading", name="No line matches")).to_be_visible()
    expect(logs.get_by_text("Past lines")).to_be_visible()
    page.reload()
    expect(when).to_have_value("own")
    expect(logs.get_by_label("From", exact=True)).to_have_value(ago.strftime("%Y-%m-%dT%H:%M"))
    assert console.axe() == []
    logs.get_by_role("button", name="Remove filters").click()
    expect(lines).not_to_have_count(0)
    expect(when).to_have_value("")


def test_a_view_is_saved_opened_and_removed(look, own):
    console = look()
    page = console.page
    accounts = console.go("accounts")
    views = accounts.get_by_role("button", name="Saved views")
    views.click()
    expect(page.get_by_role("menuitem", name="Save this view …")).to_be_disabled()
    page.keyboard.press("Escape")
    accounts.get_by_role("searchbox").fill("example")
    accounts.get_by_role("button", name="Claude left").click()
    views.click()
    page.get_by_role("menuitem", name="Save this view …").click()
    dialog = page.get_by_role("dialog", name="Save this view")
    expect(dialog.get_by_label("Name of the view")).to_be_focused()
    assert console.axe() == []
    page.keyboard.type("Nearly empty")
    page.keyboard.press("Enter")
    expect(page.get_by_text("View “Nearly empty” saved")).to_be_visible()
    # It is there after a reload, on its page only, and in the palette everywhere.
    console.go("requests").get_by_role("button", name="Saved views").click()
    expect(page.get_by_role("menuitem", name="Save this view …")).to_be_visible()
    expect(page.get_by_role("menuitemradio", name="Nearly empty")).to_have_count(0)
    page.keyboard.press("Escape")
    page.reload()
    expect(page.get_by_role("heading", name="Requests")).to_be_attached()
    page.keyboard.press("Control+k")
    page.get_by_role("dialog").get_by_role("combobox").fill("nearly")
    expect(page.get_by_role("group", name="Saved views").get_by_role("option")).to_contain_text("Accounts")
    page.keyboard.press("Enter")
    expect(accounts.get_by_role("searchbox")).to_have_value("example")
    expect(page.get_by_role("columnheader", name="Claude left")).to_have_attribute("aria-sort", "ascending")
    views.click()
    expect(page.get_by_role("menuitemradio", name="Nearly empty")).to_have_attribute("aria-checked", "true")
    assert console.axe() == []
    page.get_by_role("menuitem", name="Remove “Nearly empty”").click()
    expect(page.get_by_text("View “Nearly empty” removed")).to_be_visible()
    views.click()
    expect(page.get_by_role("menuitem", name="Save this view …")).to_be_visible()
    expect(page.get_by_role("menuitemradio", name="Nearly empty")).to_have_count(0)


def test_requests_are_told_apart(look, own):
    assert own.ask("no-such-model") == 400
    assert own.ask(FLASH) == 200 and own.ask(OPUS) == 200
    logged(own, "model_unknown", f"model.served={FLASH}", f"model.served={OPUS}")
    console = look()
    requests = console.go("requests")
    page = console.page
    rows = requests.get_by_role("table").get_by_role("row").filter(has=page.get_by_role("rowheader"))
    model = requests.get_by_role("combobox", name="Model")
    model.select_option(FLASH)
    expect(rows.filter(has_text=OPUS)).to_have_count(0)
    expect(rows.filter(has_text=FLASH)).not_to_have_count(0)
    assert console.axe() == []
    requests.get_by_role("combobox", name="Outcome").select_option(label="Client’s fault")
    expect(requests.get_by_role("heading", name=re.compile("No request"))).to_be_visible()
    page.reload()
    expect(model).to_have_value(FLASH)
    requests.get_by_role("button", name="Show all requests").first.click()
    expect(rows.filter(has_text=OPUS)).not_to_have_count(0)
    requests.get_by_role("combobox", name="Outcome").select_option(label="Client’s fault")
    expect(rows.filter(has_text="Served")).to_have_count(0)
    expect(rows.filter(has_text="Client’s fault")).not_to_have_count(0)
    requests.get_by_role("combobox", name="Duration").select_option("60s")
    expect(rows).to_have_count(0)


def test_lines_of_a_chart_are_switched_off_and_on(look, own):
    for model in (FLASH, OPUS):
        assert own.ask(model) == 200
    counted(own, FLASH, OPUS)
    console = look()
    overview = console.go("overview")
    page = console.page
    legend = overview.get_by_role("list", name="Lines")
    flash = legend.get_by_role("button", name=FLASH)
    opus = legend.get_by_role("button", name=OPUS)
    flash.click()
    expect(flash).to_have_attribute("aria-pressed", "false")
    overview.get_by_role("button", name="As a table").click()
    expect(overview.get_by_role("columnheader", name=OPUS)).to_be_visible()
    expect(overview.get_by_role("columnheader", name=FLASH)).to_have_count(0)
    assert console.axe() == []
    # One is left.
    opus.click()
    expect(opus).to_have_attribute("aria-pressed", "true")
    console.go("fleet")
    overview = console.go("overview")
    expect(flash).to_have_attribute("aria-pressed", "false")
    legend.get_by_role("button", name="Show all").click()
    expect(flash).to_have_attribute("aria-pressed", "true")
    expect(overview.get_by_role("list", name="Accounts by tier").get_by_role("listitem").first).to_contain_text("Ultra")
    expect(page.get_by_role("button", name="Show all")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_high_contrast_is_clean_on_every_page(look, own, theme):
    own.ask(FLASH)
    console = look(theme=theme)
    page = console.page
    page.get_by_role("button", name="Display").click()
    page.get_by_role("menuitemcheckbox", name="High contrast").click()
    expect(page.locator("html")).to_have_attribute("data-contrast", "more")
    wrong = []
    for name in PAGES:
        console.go(name)
        wrong += [f"{name}: {found}" for found in console.axe()]
    assert wrong == []


def test_other_weights_are_tried_and_reviewed(look, own):
    console = look()
    page = console.page
    page.goto(f"{own.url}/#/settings/explain")
    page.get_by_label("Model", exact=True).fill(OPUS)
    page.get_by_role("button", name="Explain").click()
    trial = page.get_by_role("region", name="Try other weights")
    expect(trial.get_by_role("status")).to_contain_text("The same one")
    expect(trial.get_by_role("spinbutton", name="Conversation")).to_be_disabled()
    quota = trial.get_by_role("spinbutton", name="Quota")
    quota.fill("-1")
    expect(trial.get_by_role("alert")).to_contain_text("numbers from 0")
    quota.fill("30")
    assert console.axe() == []
    first = trial.get_by_role("listitem").first
    before, after = (float(text.replace(",", "")) for text in (first.locator(tag).inner_text() for tag in ("del", "ins")))
    assert after > before
    trial.get_by_role("button", name="Review as a change").click()
    review = page.get_by_role("dialog", name="Apply 1 change?")
    expect(review.get_by_role("row", name=re.compile("accountSelection.weights.quota"))).to_contain_text("30")
    assert console.axe() == []
    review.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Discard").click()
    trial.get_by_role("button", name="As they are").click()
    expect(quota).to_have_value("3")
    assert call(own, "GET", "/api/settings")["settings"]["accountSelection.weights.quota"] == 3


def test_the_variables_of_claude_code_are_edited(look, own):
    console = look()
    connect = console.go("connect")
    page = console.page
    connect.get_by_role("button", name="Edit variables").click()
    dialog = page.get_by_role("dialog", name="Variables of Claude Code")
    expect(dialog.get_by_role("status")).to_have_text("No changes")
    expect(dialog.get_by_role("button", name="Apply")).to_be_disabled()
    expect(dialog.get_by_role("switch", name="A million tokens for Gemini’s models")).to_be_disabled()
    dialog.get_by_label("Gateway’s address").fill("http://gateway.example:8080")
    dialog.get_by_label("Client key").fill("agp_secret_of_the_host")
    dialog.get_by_label("Main model").fill("gemini-3-flash")
    dialog.get_by_label("For “opus”").fill(OPUS)
    dialog.get_by_role("switch", name="A million tokens for Gemini’s models").click()
    dialog.get_by_role("switch", name="Experimental MCP command line").click()
    expect(dialog.get_by_label("Main model")).to_have_value("gemini-3-flash[1m]")
    expect(dialog.get_by_role("status")).to_have_text("5 changes")
    assert console.axe() == []
    dialog.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Claude Code’s variables are changed")).to_be_visible()
    env = call(own, "GET", "/api/claude/config")["config"]["env"]
    assert env["ANTHROPIC_MODEL"] == "gemini-3-flash[1m]" and env["ANTHROPIC_DEFAULT_OPUS_MODEL"] == OPUS
    assert env["ENABLE_EXPERIMENTAL_MCP_CLI"] == "true" and env["ANTHROPIC_AUTH_TOKEN"] == "********"
    # What is made empty is taken away; what is not touched stays.
    connect.get_by_role("button", name="Edit variables").click()
    dialog.get_by_label("For “opus”").fill("")
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog).to_have_count(0)
    env = call(own, "GET", "/api/claude/config")["config"]["env"]
    assert "ANTHROPIC_DEFAULT_OPUS_MODEL" not in env and env["ANTHROPIC_AUTH_TOKEN"] == "********"
    page.get_by_role("button", name="Undo").last.click()
    expect(page.get_by_text("Claude Code is as it was")).to_be_visible()
    assert call(own, "GET", "/api/claude/config")["config"]["env"]["ANTHROPIC_DEFAULT_OPUS_MODEL"] == OPUS

    connect.get_by_role("button", name="More for Gemini 1M").click()
    page.get_by_role("menuitem", name="Copy as a new preset").click()
    dialog = page.get_by_role("dialog", name="Copy as a new preset")
    dialog.get_by_label("Name").fill("Ours")
    dialog.get_by_label("For “haiku”").fill(FLASH)
    dialog.get_by_role("button", name="Keep").click()
    expect(connect.get_by_role("row", name=re.compile("Ours"))).to_contain_text(FLASH)
    connect.get_by_role("button", name="More for Ours").click()
    page.get_by_role("menuitem", name="Edit").click()
    dialog = page.get_by_role("dialog", name="Edit Ours")
    dialog.get_by_label("For “haiku”").fill(OPUS)
    dialog.get_by_role("button", name="Keep").click()
    expect(connect.get_by_role("row", name=re.compile("Ours"))).to_contain_text(OPUS)
    kept = {one["name"]: one["config"] for one in call(own, "GET", "/api/claude/presets")["presets"]}
    assert kept["Ours"]["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == OPUS


def test_models_that_nobody_can_serve_are_left_out(look, own):
    console = look()
    told = call(own, "GET", "/account-limits")
    for account in told["accounts"]:
        if account["limits"].get(FLASH):
            account["limits"][FLASH] |= {"remainingFraction": 0}
    console.context.route(re.compile("/account-limits$"), lambda route: route.fulfill(json=told))
    # What was asked for before is not asked for again at once.
    console.page.reload()
    capacity = console.go("capacity")
    page = console.page
    row = capacity.get_by_role("rowheader", name=FLASH)
    expect(row).to_be_visible()
    switch = capacity.get_by_role("switch", name="Show 1 that nobody can serve")
    switch.click()
    expect(row).to_have_count(0)
    expect(capacity.get_by_role("rowheader", name=OPUS)).to_be_visible()
    assert console.axe() == []
    page.reload()
    expect(switch).to_have_attribute("aria-checked", "false")
    switch.click()
    expect(row).to_be_visible()


def test_recommended_steps_are_put_away_and_brought_back(look, own):
    console = look()
    step = {"step": "apiKey", "title": "A key", "text": "So that strangers cannot ask", "command": "do it", "required": False}
    told = call(own, "GET", "/api/status") | {"setup": [step]}
    console.context.route(re.compile("/api/status$"), lambda route: route.fulfill(json=told))
    # What was asked for before is not asked for again at once.
    console.page.reload()
    overview = console.go("overview")
    page = console.page
    steps = overview.get_by_role("region", name="What is left to set up")
    steps.get_by_role("button", name="Do not show").click()
    expect(steps).to_have_count(0)
    page.reload()
    expect(overview.get_by_role("heading", name="In flight")).to_be_visible()
    expect(steps).to_have_count(0)
    page.goto(f"{own.url}/#/settings/appearance")
    page.get_by_role("switch", name="Recommended steps on the overview").click()
    assert console.axe() == []
    console.go("overview")
    expect(steps).to_be_visible()


def test_a_preset_that_somebody_else_changed_is_not_lost(look, own):
    """While it is open here it is changed, renamed and deleted: each is told before anything is replaced."""
    shared = {"name": "Shared", "config": {"maxRetries": 9}}
    call(own, "POST", "/api/server/presets", shared)
    console = look()
    page = console.page
    page.goto(f"{own.url}/#/settings/presets")
    dialog = page.get_by_role("dialog", name="Edit preset")
    save = dialog.get_by_role("button", name="Save", exact=True)

    def edit(name):
        page.get_by_role("button", name=f"Actions for {name}", exact=True).click()
        page.get_by_role("menuitem", name="Edit").click()

    edit("Shared")
    dialog.get_by_label("Description").fill("of mine")
    call(own, "POST", "/api/server/presets", shared | {"config": {"maxRetries": 11}})
    save.click()
    expect(dialog.get_by_role("alert")).to_contain_text("Somebody changed this preset")
    assert preset(own, "Shared")["config"] == {"maxRetries": 11}
    save.click()
    expect(dialog).to_have_count(0)
    assert preset(own, "Shared")["config"] == {"maxRetries": 9}
    expect(page.get_by_text("of mine")).to_be_visible()

    edit("Shared")
    call(own, "PATCH", "/api/server/presets/Shared", {"name": "Theirs"})
    dialog.get_by_label("Description").fill("again")
    save.click()
    expect(dialog.get_by_role("alert")).to_contain_text("deleted or renamed")
    assert preset(own, "Shared") is None
    save.click()
    expect(dialog).to_have_count(0)
    assert preset(own, "Shared")["description"] == "again" and preset(own, "Theirs")["description"] == "of mine"
    for name in ("Shared", "Theirs"):
        call(own, "DELETE", f"/api/server/presets/{name}")


def test_names_of_presets_may_be_anything(look, own):
    name = "\u202eevil\u202c <img src=x>" + "w" * 28
    made = {"name": name, "config": {"maxRetries": 9}, "description": "w" * 200}
    call(own, "POST", "/api/server/presets", made)
    console = look(width=390)
    page = console.page
    page.goto(f"{own.url}/#/settings/presets")
    # What turns the text around is seen instead.
    shown = name.replace("\u202e", "\\u202e").replace("\u202c", "\\u202c")
    expect(page.get_by_role("heading", name=shown)).to_be_visible()
    assert console.overflow() <= 0
    page.get_by_role("button", name=f"Actions for {shown}", exact=True).click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(page.get_by_text(f"Preset “{shown}” deleted")).to_be_visible()
