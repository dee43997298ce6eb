#!/usr/bin/env python3
"""Writes what is made from the chart: the table of values in its README, and the manifests below k8s/.

Needs the packages of tests/chart/requirements.txt (`make install-deps`).
"""

import json
import re
import shutil
import sys
from pathlib import Path

import helm_python
import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm/antigravity-proxy"
K8S = ROOT / "k8s"
RELEASE = "antigravity-proxy"
HEADER = "# Rendered from helm/antigravity-proxy by `make generate`; do not edit.\n"
BEGIN, END = "<!-- values: made by `make generate` -->", "<!-- end of values -->"


def described(text):
    """Section headings and (path, description) pairs of a values file, in its order."""
    path, description = [], None
    for line in text.splitlines():
        if heading := re.fullmatch(r"## (.+)", line):
            yield heading[1], None
        elif comment := re.fullmatch(r"\s*# -- (.+)", line):
            description = comment[1]
        elif key := re.match(r"( *)([A-Za-z]+):", line):
            depth = len(key[1]) // 2
            path = [*path[:depth], key[2]]
            if description is not None:
                yield ".".join(path), description
                description = None


def table(values_file):
    """The values as tables in Markdown, one per section."""
    text = values_file.read_text()
    values = yaml.safe_load(text)
    lines = []
    for name, description in described(text):
        if description is None:
            lines += ["", f"### {name}", "", "| Value | Default | Meaning |", "|---|---|---|"]
            continue
        default = values
        for key in name.split("."):
            default = default[key]
        shown = "" if default in ("", None) else f"`{json.dumps(default, ensure_ascii=False)}`"
        lines.append(f"| `{name}` | {shown or '–'} | {description} |")
    return "\n".join(lines[1:])


def readme():
    file = CHART / "README.md"
    before, rest = file.read_text().split(BEGIN)
    after = rest.split(END)[1]
    file.write_text(f"{before}{BEGIN}\n\n{table(CHART / 'values.yaml')}\n\n{END}{after}")


def merged(below, above):
    """`above` over `below`, object by object."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {key: merged(below.get(key), above[key]) if key in above else below[key] for key in [*below, *above]}


def rendered(values):
    """The objects of a release without Helm, by (kind, name): no hooks, no labels that speak of Helm."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name=RELEASE, namespace="default")
    objects = {}
    for path, text in sorted(files.items()):
        if path.endswith(".txt"):
            continue
        for item in filter(None, yaml.safe_load_all(text)):
            if "helm.sh/hook" in item["metadata"].get("annotations", {}):
                continue
            without_helm(item)
            objects[item["kind"], item["metadata"]["name"]] = item
    return objects


def without_helm(item):
    if isinstance(item, dict):
        if item.get("app.kubernetes.io/managed-by") == "Helm":
            del item["app.kubernetes.io/managed-by"]
        item.pop("helm.sh/chart", None)
        for value in item.values():
            without_helm(value)
    elif isinstance(item, list):
        for value in item:
            without_helm(value)


def difference(old, new, path=""):
    """A JSON patch from `old` to `new`. Of lists whose items have names, items are added and changed."""
    if isinstance(old, list) and isinstance(new, list) and (steps := insertions(old, new, path)) is not None:
        return steps
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [{"op": "replace", "path": path, "value": new}]
    steps = []
    for key in [*old, *(key for key in new if key not in old)]:
        at = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
        if key not in new:
            steps.append({"op": "remove", "path": at})
        elif key not in old:
            steps.append({"op": "add", "path": at, "value": new[key]})
        else:
            steps += difference(old[key], new[key], at)
    return steps


def insertions(old, new, path):
    """The patch where `new` has the named items of `old` in their order, and more between them; else `None`."""
    names = [[item.get("name") if isinstance(item, dict) else None for item in part] for part in (old, new)]
    if None in names[0] + names[1]:
        return None
    steps, rest = [], list(zip(names[0], old, strict=True))
    for index, (name, item) in enumerate(zip(names[1], new, strict=True)):
        if rest and rest[0][0] == name:
            steps += difference(rest.pop(0)[1], item, f"{path}/{index}")
        else:
            steps.append({"op": "add", "path": f"{path}/{index}", "value": item})
    return None if rest else steps


class Dumper(yaml.SafeDumper):
    """Long texts as blocks."""

    def ignore_aliases(self, data):
        return True


def text(dumper, value):
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


Dumper.add_representer(str, text)


def write(folder, name, data):
    (folder / name).write_text(HEADER + yaml.dump(data, Dumper=Dumper, sort_keys=False, width=120))
    return name


def clear(folder):
    """Leaves only what people write."""
    for file in folder.iterdir():
        if file.name != "values.yaml":
            shutil.rmtree(file) if file.is_dir() else file.unlink()


def kustomize():
    base, overlay = K8S / "base", K8S / "overlays/team"
    base_values = yaml.safe_load((base / "values.yaml").read_text())
    values = merged(base_values, yaml.safe_load((overlay / "values.yaml").read_text()))
    ours, theirs = rendered(base_values), rendered(values)
    kinds = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    clear(base)
    files = [write(base, file_name(key), item) for key, item in ours.items()]
    write(base, "kustomization.yaml", {**kinds, "resources": files})
    clear(overlay)
    files = [write(overlay, file_name(key), item) for key, item in theirs.items() if key not in ours]
    patches = []
    for key, item in ours.items():
        target = {"kind": key[0], "name": key[1]}
        if key not in theirs:
            raise SystemExit(f"the overlay has no {key}: it can only add and change")
        if steps := difference(item, theirs[key]):
            patches.append({"path": write(overlay, f"patch-{file_name(key)}", steps), "target": target})
    write(overlay, "kustomization.yaml", {**kinds, "resources": ["../../base", *files], "patches": patches})
    return theirs


def file_name(key):
    kind, name = key
    return f"{kind.lower()}-{name.removeprefix(RELEASE).strip('-')}".rstrip("-") + ".yaml"


if __name__ == "__main__":
    readme()
    kustomize()
    sys.exit(0)
