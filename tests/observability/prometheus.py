"""Prometheus' programs, and the rules that the chart renders for them."""

import pathlib
import sys

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "chart"))

from chart import CHART, REDIS, ROOT, Release, at, over, program, run  # noqa: E402, F401

# Matchers that fit the metrics of the tests, as a Prometheus without the operator would have them.
PLAIN = 'job="gw"'


def tool(name):
    """`prometheus` or `promtool`, unpacked by scripts/install-deps.sh or the system's."""
    unpacked = ROOT / ".cache/debian/prometheus/usr/bin" / name
    return str(unpacked) if unpacked.exists() else program(name)


def rendered(**values):
    """The rule groups of a release `gw` in the namespace `ns`, by the chart; values are those of `prometheusRule`."""
    rules = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True} | values}
    release = Release(over(REDIS, {"metrics": rules}))
    return release.one("PrometheusRule")["spec"]["groups"]


def alerts(groups):
    """Alerts by name."""
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def write(groups, folder):
    """A file of rules as Prometheus reads it."""
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": groups}, sort_keys=False))
    return file


def seconds(text):
    """Seconds of a duration such as `1h30m`."""
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    total, number = 0, ""
    for character in text:
        if character.isdigit():
            number += character
        else:
            total += int(number) * units[character]
            number = ""
    assert not number, text
    return total
