"""The chart, rendered; nothing else here knows with which library."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import helm_python
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/antigravity-proxy"
# Built by run.sh.
BINARY = Path(os.environ.get("AGP_BIN_DIR", ROOT / "target/debug")) / "antigravity-proxy"
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))
# The least that renders.
LEAST = {"encryption": {"existingSecret": "keys"}}
REDIS = {**LEAST, "redis": {"url": "redis://redis:6379/0"}}


class Strict(yaml.SafeLoader):
    """Takes no key twice, as an API server with strict validation; PyYAML itself would silently take the last one."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"written twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


class Refused(Exception):
    """The chart does not take these values; the text is what its user reads."""


@cache
def loaded(chart=CHART):
    return helm_python.Chart.load(chart)


def over(below, *above):
    """`above` over `below`, object by object."""
    for values in above:
        merged = dict(below)
        for key, value in values.items():
            known = merged.get(key)
            merged[key] = over(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
        below = merged
    return below


def at(path, value):
    """`{"a": {"b": value}}` of `a.b`."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


class Release:
    """What an install would create, and say."""

    def __init__(self, values, name="gw", namespace="ns", chart=CHART):
        try:
            loaded(chart).validate_schema(values)
            files = loaded(chart).render(values, name=name, namespace=namespace)
        except helm_python.HelmError as error:
            raise Refused(str(error)) from error
        self.notes = next(text for path, text in files.items() if path.endswith("/NOTES.txt"))
        texts = [text for path, text in sorted(files.items()) if path.endswith(".yaml")]
        self.objects = [item for text in texts for item in yaml.load_all(text, Strict) if item]

    def all(self, kind):
        return [item for item in self.objects if item["kind"] == kind]

    def one(self, kind, suffix=""):
        name = f"gw-antigravity-proxy{suffix}"
        found = [item for item in self.all(kind) if item["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} of {kind} {name}"
        return found[0]

    def has(self, kind, suffix=""):
        return any(item["metadata"]["name"] == f"gw-antigravity-proxy{suffix}" for item in self.all(kind))

    @property
    def pod(self):
        return self.one("Deployment")["spec"]["template"]["spec"]

    @property
    def gateway(self):
        return self.pod["containers"][0]

    @property
    def env(self):
        return environment(self.gateway)

    @property
    def config(self):
        return json.loads(self.one("ConfigMap")["data"]["config.json"])

    @property
    def secret_files(self):
        """Where each file of `/run/secrets/antigravity-proxy` comes from: (secret, key)."""
        volume = next(volume for volume in self.pod["volumes"] if volume["name"] == "secrets")
        sources = [source["secret"] for source in volume["projected"]["sources"]]
        return {item["path"]: (source["name"], item["key"]) for source in sources for item in source["items"]}


def environment(container):
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def lint(values):
    return helm_python.lint(CHART, values, strict=True)


def pods(objects):
    """Every pod specification with its labels and the object it belongs to."""
    for item in objects:
        if item["kind"] == "Pod":
            yield item["metadata"]["labels"], item["spec"], item
        elif "template" in item.get("spec", {}):
            template = item["spec"]["template"]
            yield template["metadata"]["labels"], template["spec"], item


def program(name):
    """A program of this repository's tools, else of the system."""
    return shutil.which(name, path=f"{ROOT / '.cache/venv/bin'}:{os.environ['PATH']}")


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **{"timeout": 120, **options})
