"""docs/operations.md: every alert has its runbook, every link leads somewhere, and what is named exists."""

import re

import pytest
from prometheus import CHART, ROOT, alerts, rendered

PAGE = ROOT / "docs/operations.md"
TEXT = PAGE.read_text()
# Where somebody publishes the repository.
PUBLISHED = "https://git.example.com/antigravity-proxy/"
ALERTS = alerts(rendered(runbookUrl=f"{PUBLISHED}docs/operations.md"))


def headings(text):
    """(level, title) of each, without what stands in blocks of code."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [(len(level), title) for level, title in re.findall(r"^(#+) (.+)$", text, re.MULTILINE)]


def anchors(text):
    """As GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for _, title in headings(text)}


def links(text):
    return re.findall(r"\]\(([^)\s]+)\)", text)


def section(title):
    """The text below a heading, up to the next one of its level or above."""
    level = next(level for level, known in headings(TEXT) if known == title)
    rest = TEXT.split(f"{'#' * level} {title}\n", 1)[1]
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def test_each_alert_has_a_runbook_and_each_runbook_an_alert():
    runbooks = re.findall(r"^### (.+)$", section("Alerts"), re.MULTILINE)
    assert len(runbooks) == len(set(runbooks))
    assert set(runbooks) == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_a_runbook_says_what_it_means_how_to_see_and_what_to_do(name):
    text = section(name)
    assert "**Meaning.**" in text and "**See" in text
    assert "**Do.**" in text or "**See, do.**" in text


@pytest.mark.parametrize("name", ALERTS)
def test_its_link_leads_to_it(name):
    page, anchor = ALERTS[name]["annotations"]["runbook_url"].removeprefix(PUBLISHED).split("#")
    assert (ROOT / page).resolve() == PAGE
    assert anchor in anchors(TEXT) and anchor == name.lower()


def test_nowhere_is_linked_unless_it_is_said_where():
    for alert in alerts(rendered()).values():
        assert "runbook_url" not in alert["annotations"]


@pytest.mark.parametrize("page", [PAGE, ROOT / "README.md", CHART / "README.md"], ids=lambda page: page.parent.name)
def test_links_lead_somewhere(page):
    for link in links(page.read_text()):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_readers_of_the_readme_find_it():
    assert "docs/operations.md" in links((ROOT / "README.md").read_text())


def test_what_it_names_exists():
    """Settings, variables, values of the chart and metrics."""
    known = "".join(
        (ROOT / f"docs/{page}.md").read_text() for page in ("configuration", "metrics", "accounts", "redis")
    )
    known += (CHART / "README.md").read_text() + (ROOT / "docs/openapi.json").read_text()
    # Of others: Claude Code's, Kubernetes', and a shell variable of this page.
    foreign = {"ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "OOMKilled", "ExecStart", "BGSAVE", "KEYS", "PASSWORD",
               "FailedGetPodsMetric"}  # fmt: skip
    words = set(re.findall(r"`([A-Za-z_.]+)`", TEXT))
    named = {word for word in words if re.search(r"[a-z][A-Z]|^[A-Z_]{4,}$|^antigravity_proxy_|^[a-z]+\.[a-z]+", word)}
    # Files of the repository, and of the data directory.
    named -= foreign | {word for word in named if (ROOT / word).exists() or word in {"journal.resp", "encryption.key"}}
    assert len(named) > 40
    assert {word for word in named if word not in known} == set()


def test_each_exit_code_is_explained():
    codes = set(re.findall(r"Self::\w+ => (\d+),", (ROOT / "src/cli/exit.rs").read_text()))
    assert len(codes) >= 7
    explained = set(re.findall(r"^\| (\d+) \|", section("What operators see"), re.MULTILINE))
    assert codes <= explained


def test_each_outcome_of_a_request_is_classified():
    """And as the rules count it."""
    source = (ROOT / "src/telemetry/metrics/label.rs").read_text()
    outcomes = set(re.findall(r' = "(\w+)"', source.split("Outcome {", 1)[1].split("\n    }", 1)[0]))
    assert "served" in outcomes
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", section("Service levels"), re.MULTILINE)
    told = {outcome: verdict.strip() for names, verdict in rows for outcome in re.findall(r"`(\w+)`", names)}
    assert set(told) == outcomes
    rules = {rule.get("record"): rule["expr"] for group in rendered() for rule in group["rules"]}
    excluded = re.search(r'outcome!~"([^"]+)"', rules["job:antigravity_proxy_requests:rate5m"])[1].split("|")
    assert {outcome for outcome, verdict in told.items() if verdict == "not at all"} == set(excluded)
    unfailed = re.search(r'outcome!~"([^"]+)"', rules["job:antigravity_proxy_requests_failed:rate5m"])[1].split("|")
    assert {outcome for outcome, verdict in told.items() if verdict == "as failed"} == outcomes - set(unfailed)
