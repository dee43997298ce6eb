"""Every alert on synthetic series, by `promtool test rules`, with the rules that the chart renders: it fires as soon as
it should and not earlier, says what it should, ends; and does not fire where all but one thing is the same."""

import pytest
import yaml
from cases import CASES, MISSES
from prometheus import PLAIN, ROOT, alerts, rendered, run, seconds, tool, write

WHERE = {"namespace": "ns", "job": "gw"}


def named(case):
    return f"{case.alert}: {case.what}"


# The first of each alert.
EXAMPLES = list({case.alert: case for case in reversed(CASES)}.values())


def groups_of(case, **more):
    """The rules that its alert depends on: those of its group."""
    groups = rendered(**case.values, **more)
    return [group for group in groups if any(rule.get("alert") == case.alert for rule in group["rules"])]


def series(case, **labels):
    """The case's series with these labels besides."""
    own = "".join(f'{name}="{value}",' for name, value in labels.items())
    return [{"series": name.replace("{", "{" + own), "values": values} for name, values in case.series.items()]


def promtool(folder, groups, case, input_series, tests, expressions=()):
    """Runs `tests`, each (time in seconds, alerts expected), and `expressions`, each (time, expression, samples)."""
    situation = {
        "interval": f"{case.step}s",
        "name": case.what,
        "input_series": input_series,
        "alert_rule_test": [
            {"eval_time": f"{time}s", "alertname": case.alert, "exp_alerts": expected} for time, expected in tests
        ],
        "promql_expr_test": [
            {"eval_time": f"{time}s", "expr": expression, "exp_samples": samples}
            for time, expression, samples in expressions
        ],
    }
    file = folder / "test.yaml"
    content = {
        "rule_files": [write(groups, folder).name],
        "evaluation_interval": f"{case.step}s",
        "tests": [situation],
    }
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return run([tool("promtool"), "test", "rules", file.name], cwd=folder)


def assert_passed(tested):
    assert tested.returncode == 0, tested.stdout + tested.stderr


def firing(case, rule, labels, summary):
    """What Alertmanager is told. A description that says the same of all is not repeated in the cases."""
    annotations = rule["annotations"] | {"summary": summary}
    if case.description:
        annotations["description"] = case.description
    assert "{{" not in "".join(annotations.values()), f"the case has to say what {rule['alert']} says"
    return [{"exp_labels": {"severity": case.severity, **labels, **case.labels}, "exp_annotations": annotations}]


def follows(case, groups, labels, folder):
    """The alert is pending as long as its `for`, fires at the time of the case, and ends at that of the case."""
    rule = alerts(groups)[case.alert]
    fires, lasts = seconds(case.fires), seconds(rule.get("for", "0s"))
    tests = [(fires - case.step, []), (fires, firing(case, rule, labels, case.summary))]
    if case.ends:
        ends = seconds(case.ends)
        tests += [(ends - case.step, firing(case, rule, labels, case.last or case.summary)), (ends, [])]
    pending = f'count(ALERTS{{alertname="{case.alert}",alertstate="pending"}})'
    times = {fires - lasts - case.step: [], fires: []}
    if lasts:
        times |= {time: [{"labels": "{}", "value": 1}] for time in (fires - lasts, fires - case.step)}
    expressions = [(time, pending, samples) for time, samples in times.items() if time >= 0]
    assert_passed(promtool(folder, groups, case, series(case, **labels), tests, expressions))


@pytest.mark.parametrize("case", CASES, ids=named)
def test_it_fires_when_it_has_lasted(case, tmp_path):
    follows(case, groups_of(case), WHERE, tmp_path)


@pytest.mark.parametrize("case", EXAMPLES, ids=named)
def test_without_the_operator_targets_have_no_namespace(case, tmp_path):
    follows(case, groups_of(case, selector=PLAIN), {"job": "gw"}, tmp_path)


@pytest.mark.parametrize("case", MISSES, ids=named)
def test_it_does_not_fire_for_what_is_almost_the_same(case, tmp_path):
    # All times that matter, and not so many that the test takes long.
    every = case.step * max(1, seconds(case.until) // case.step // 500)
    times = range(every, seconds(case.until) + 1, every)
    tested = promtool(tmp_path, groups_of(case), case, series(case, **WHERE), [(time, []) for time in times])
    assert_passed(tested)


@pytest.mark.parametrize("case", [case for case in EXAMPLES if "NoMetrics" not in case.alert], ids=named)
def test_other_releases_are_none_of_its_business(case, tmp_path):
    others = series(case, namespace="other", job="gw") + series(case, namespace="ns", job="other")
    assert_passed(promtool(tmp_path, groups_of(case), case, others, [(seconds(case.fires), [])]))


def test_each_alert_has_its_cases():
    names = set(alerts(rendered()))
    assert len(names) >= 19
    assert {case.alert for case in CASES} == names
    assert {case.alert for case in MISSES} == names


def test_promtool_sees_a_wrong_expectation(tmp_path):
    case = CASES[0]
    tested = promtool(tmp_path, groups_of(case), case, series(case, **WHERE), [(seconds(case.fires), [])])
    assert tested.returncode != 0 and case.alert in tested.stdout + tested.stderr


def test_rules_are_well_formed(tmp_path):
    for values in ({}, {"selector": PLAIN}, {"selector": 'namespace=~"a|b",job="c"'}):
        groups = rendered(**values)
        assert "@" not in yaml.safe_dump(groups), "a name between @ that the chart does not know"
        assert_passed(run([tool("promtool"), "check", "rules", write(groups, tmp_path)]))


def test_the_kustomize_overlay_has_rules_for_any_prometheus(tmp_path):
    """Its `spec` is a file of rules that look for a job and for no namespace (docs/operations.md)."""
    rule = yaml.safe_load((ROOT / "k8s/overlays/team/prometheusrule.yaml").read_text())
    groups = rule["spec"]["groups"]
    assert set(alerts(groups)) == set(alerts(rendered()))
    text = yaml.safe_dump(groups)
    assert 'job="antigravity-proxy"' in text and 'namespace="' not in text
    assert_passed(run([tool("promtool"), "check", "rules", write(groups, tmp_path)]))
