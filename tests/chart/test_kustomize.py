"""What lies below k8s/ and in the chart's README is what the chart makes."""

import importlib.util
import re

import kubernetes_validate
import pytest
import yaml
from chart import CHART, ROOT, program, run

spec = importlib.util.spec_from_file_location("generator", ROOT / "scripts/chart.py")
generator = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generator)

K8S = ROOT / "k8s"


def values(*folders):
    merged = {}
    for folder in folders:
        merged = generator.merged(merged, yaml.safe_load((K8S / folder / "values.yaml").read_text()))
    return merged


def by_name(text):
    return {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(text) if item}


@pytest.mark.skipif(program("kubectl") is None, reason="no kubectl here")
@pytest.mark.parametrize("folders", [["base"], ["base", "overlays/team"]], ids=lambda folders: folders[-1])
def test_kustomize_makes_what_the_chart_renders(folders):
    built = run([program("kubectl"), "kustomize", K8S / folders[-1]])
    assert built.returncode == 0, built.stderr
    assert by_name(built.stdout) == generator.rendered(values(*folders))


@pytest.mark.parametrize("folders", [["base"], ["base", "overlays/team"]], ids=lambda folders: folders[-1])
def test_nothing_speaks_of_helm(folders):
    objects = generator.rendered(values(*folders))
    assert len(objects) >= 6
    assert "helm" not in yaml.safe_dump(list(objects.values())).lower()
    for item in objects.values():
        assert item["kind"] != "Secret", "a generated secret would change with every rendering"
        if not item["apiVersion"].startswith("monitoring."):
            kubernetes_validate.validate(item, "1.28", strict=True)


def test_the_patch_writer():
    old = {"a": 1, "b": {"c": 2, "d~/": 3}, "l": [{"name": "x", "v": 1}, {"name": "z"}], "m": [1]}
    new = {"b": {"d~/": 4, "e": 5}, "l": [{"name": "x", "v": 2}, {"name": "y"}, {"name": "z"}], "m": [1, 2]}
    assert generator.difference(old, new) == [
        {"op": "remove", "path": "/a"},
        {"op": "remove", "path": "/b/c"},
        {"op": "replace", "path": "/b/d~0~1", "value": 4},
        {"op": "add", "path": "/b/e", "value": 5},
        {"op": "replace", "path": "/l/0/v", "value": 2},
        {"op": "add", "path": "/l/1", "value": {"name": "y"}},
        {"op": "replace", "path": "/m", "value": [1, 2]},
    ]


def test_every_value_is_described():
    text = (CHART / "values.yaml").read_text()
    described = {name for name, description in generator.described(text) if description}

    def undescribed(values, path=()):
        for key, value in values.items():
            name = ".".join([*path, key])
            if name in described:
                continue
            if isinstance(value, dict) and value:
                yield from undescribed(value, (*path, key))
            else:
                yield name

    assert list(undescribed(yaml.safe_load(text))) == []


def test_every_value_is_used():
    """By its name, behind a dot: in a template, or on its way into one."""
    templates = "".join(file.read_text() for file in (CHART / "templates").rglob("*.*"))
    text = (CHART / "values.yaml").read_text()
    names = [name for name, description in generator.described(text) if description]
    assert len(names) > 80
    assert [name for name in names if not re.search(rf"\.{name.split('.')[-1]}\b", templates)] == []


def test_the_readme_has_the_scenarios_values_file():
    readme = (CHART / "README.md").read_text()
    scenario = (CHART / "ci/readme-values.yaml").read_text().split("\n", 1)[1]
    assert f"```yaml\n{scenario}```" in readme
