"""The dashboards by themselves: what Grafana and its readers rely on. `test_live.py` asks their queries."""

import itertools
import re

import pytest
import yaml
from dashboards import asked, loaded, panels, queries, variables
from prometheus import ROOT, rendered, run, tool

DASHBOARDS = loaded()


@pytest.fixture(params=DASHBOARDS.values(), ids=DASHBOARDS)
def dashboard(request):
    return request.param


def test_there_are_two_and_they_can_be_told_apart():
    assert set(DASHBOARDS) == {"requests", "pool"}
    for field in ("uid", "title"):
        assert len({dashboard[field] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)


def test_panels_have_places_of_their_own(dashboard):
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(0 <= place["x"] and place["x"] + place["w"] <= 24 and place["h"] > 0 for place in places)
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_panels_say_what_they_show(dashboard):
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(titles) == len(set(titles)) and all(titles)
    for panel in panels(dashboard):
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


def test_everything_depends_on_the_chosen_source_and_on_what_is_chosen(dashboard):
    names = [variable["name"] for variable in variables(dashboard)]
    assert names[:2] == ["namespace", "job"]
    source = {"type": "prometheus", "uid": "${datasource}"}
    for item in [*panels(dashboard), *variables(dashboard), *dashboard["annotations"]["list"]]:
        assert item["datasource"] == source, item
    assert all(target["datasource"] == source for panel in panels(dashboard) for target in panel["targets"])
    for where, query in queries(dashboard):
        for metric in re.findall(r"[a-z_A-Z]+\{[^{}]*\}", query):
            assert 'namespace=~"$namespace",job=~"$job"' in metric, f"{where}: {metric}"
        assert set(re.findall(r"\$(\w+)", query)) <= {*names, "__rate_interval"}, where


def test_all_means_all(dashboard):
    for variable in variables(dashboard):
        # Also what has no such label.
        assert variable["includeAll"] and variable["allValue"] == ".*" and variable["multi"], variable["name"]
        assert variable["current"]["value"] == ["$__all"]


def test_queries_are_promql(dashboard, tmp_path):
    rules = [{"record": f"q{place}", "expr": asked(query)} for place, (_, query) in enumerate(queries(dashboard))]
    assert len(rules) > 20
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    checked = run([tool("promtool"), "check", "rules", file])
    assert checked.returncode == 0, checked.stdout + checked.stderr


# What a replica says that reaches the store, and one that saw other times and does not reach it any more.
SEEN = {
    "a": {"available": 0, "busy": 1, "limited": 3, "invalid": 2},
    "b": {"available": 4, "busy": 2, "limited": 0, "invalid": 0},
}
QUERIES = {
    f"{panel['title']}, {target['legendFormat']}": target["expr"]
    for panel in panels(DASHBOARDS["pool"])
    for target in panel["targets"]
}


@pytest.mark.parametrize("labels", ['namespace="ns",job="gw",pod', 'job="gw",instance'], ids=["operator", "plain"])
@pytest.mark.parametrize("reached", ["a", "ab", ""], ids=["one", "both", "none"])
def test_accounts_are_those_that_a_replica_sees_which_reaches_the_store(labels, reached, tmp_path):
    metrics = ("accounts", "account_requests_in_flight")
    series = [
        {"series": f'antigravity_proxy_{metric}{{{labels}="{pod}",state="{state}"}}', "values": f"{number}x5"}
        for metric in metrics
        for pod, states in SEEN.items()
        for state, number in states.items()
    ]
    series += [
        {"series": f'antigravity_proxy_store_up{{{labels}="{pod}"}}', "values": f"{int(pod in reached)}x5"} for pod in SEEN
    ]
    states = {state: max(SEEN[pod][state] for pod in reached) for state in SEEN["a"]} if reached else {}
    wanted = {
        "Available accounts, Available accounts": ("available", "busy"),
        "Limited or at rest, Limited or at rest": ("limited",),
        "Need their owners, Need their owners": ("invalid",),
    }
    tests = [
        (QUERIES[place], [{"labels": "{}", "value": sum(states[state] for state in of)}] if states else [])
        for place, of in wanted.items()
    ]
    each = [{"labels": f'{{state="{state}"}}', "value": number} for state, number in states.items()]
    for place in ("Accounts by state, {{state}}", "Requests in flight by state of their account, {{state}}"):
        tests.append((QUERIES[place], each))
    file = tmp_path / "test.yaml"
    expressions = [{"eval_time": "2m", "expr": asked(query), "exp_samples": samples} for query, samples in tests]
    content = {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": expressions}]}
    file.write_text(yaml.safe_dump(content))
    tested = run([tool("promtool"), "test", "rules", file])
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_labels_have_the_values_that_are_asked_for():
    """Of labels with closed sets of values."""
    source = (ROOT / "src/telemetry/metrics/label.rs").read_text()
    known = set(re.findall(r'^        [A-Z]\w+ = "(\w+)",$', source, re.MULTILINE))
    assert {"served", "available", "busy", "cache_read"} <= known
    texts = [query for dashboard in DASHBOARDS.values() for _, query in queries(dashboard)]
    texts += [rule["expr"] for group in rendered() for rule in group["rules"]]
    found = set()
    for text in texts:
        for label, values in re.findall(r'\b(\w+)[=!]~?"([^"$]*)"', text):
            if label in {"outcome", "state", "kind", "decision", "reason", "step", "status", "topic", "source"}:
                found |= {(label, value) for value in values.split("|")}
    assert len(found) > 15
    assert {(label, value) for label, value in found if value not in known} == set()
