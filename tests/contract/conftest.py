"""Chooses what is examined, keeps the results, and counts them.

Environment: `URL` and `KEY` examine what runs there; `REFERENCE` starts the Node.js program; without either this
gateway is built and started. `REPORT` names a file for the results.
"""

import collections
import json
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

from laboratory import Laboratory  # noqa: E402
from programs import Simulator  # noqa: E402
from subjects import Ours, Reference, Remote  # noqa: E402

results = pytest.StashKey()


def pytest_configure(config):
    config.addinivalue_line("markers", "duty(id, level, source, text): what the check states")
    config.stash[results] = {}


def pytest_collection_modifyitems(items):
    """Every check states exactly one duty, under an id of its own."""
    seen = collections.Counter()
    for item in items:
        marks = list(item.iter_markers("duty"))
        if len(marks) != 1:
            raise pytest.UsageError(f"{item.nodeid} states {len(marks)} duties")
        seen[marks[0].args[0]] += 1
    twice = [identity for identity, count in seen.items() if count > 1]
    if twice:
        raise pytest.UsageError(f"ids given twice: {twice}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    identity, level, source, text = item.get_closest_marker("duty").args
    kept = item.config.stash[results]
    if report.when == "call" or report.outcome != "passed":
        outcome = {"passed": "yes", "failed": "no", "skipped": "not examined"}[report.outcome]
        kept[identity] = {"level": level, "source": source, "duty": text, "outcome": outcome}
    if report.failed and report.when == "call" and level == "should":
        report.outcome = "skipped"
        report.wasxfail = "a should"
    return report


def pytest_terminal_summary(terminalreporter, config):
    kept = config.stash[results]
    for level in ("must", "should"):
        outcomes = collections.Counter(one["outcome"] for one in kept.values() if one["level"] == level)
        examined = outcomes["yes"] + outcomes["no"]
        line = f"{level}: {outcomes['yes']} of {examined} hold"
        if outcomes["not examined"]:
            line += f", {outcomes['not examined']} not examined"
        terminalreporter.write_line(line)
    if path := os.environ.get("REPORT"):
        pathlib.Path(path).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


@pytest.fixture(scope="session")
def simulator(tmp_path_factory):
    """Google's stand-in; `None` where what is examined has an upstream of its own."""
    if "URL" in os.environ:
        yield None
        return
    child = Simulator(tmp_path_factory.mktemp("simulator"))
    try:
        yield child
        if "REFERENCE" not in os.environ:
            assert child.refusals() == []
    finally:
        child.stop()


@pytest.fixture(scope="session")
def subject(simulator, tmp_path_factory):
    if simulator is None:
        chosen = Remote(os.environ["URL"], os.environ.get("KEY"))
    else:
        chosen = kind()(tmp_path_factory.mktemp("subject"), simulator)
    try:
        yield chosen
    finally:
        chosen.stop()


@pytest.fixture(scope="session")
def api(subject):
    return subject.client


@pytest.fixture(scope="session")
def laboratory(simulator, tmp_path_factory):
    """Where the upstream fails on command."""
    if simulator is None:
        pytest.skip("needs an upstream that fails on command")
    return Laboratory(kind(), simulator, tmp_path_factory)


def kind():
    return Reference if "REFERENCE" in os.environ else Ours
