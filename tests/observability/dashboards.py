"""The chart's dashboards, and their queries as Grafana would send them."""

import json
import re

from prometheus import CHART

FOLDER = CHART / "files/dashboards"


def loaded():
    """Each dashboard by its file's name."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}


def panels(dashboard):
    """What shows something: no rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard):
    """(where, query) of each panel and annotation."""
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield f"{panel['title']}, {target['legendFormat']}", target["expr"]


def variables(dashboard):
    """Those that are asked of Prometheus, in their order."""
    return [one for one in dashboard["templating"]["list"] if one["type"] == "query"]


def asked(query, **chosen):
    """The query with its variables replaced; those that are not chosen are "All"."""
    values = {"namespace": ".*", "job": ".*", "model": ".*", "__rate_interval": "15s"} | chosen
    return re.sub(r"\$(\w+)", lambda name: values[name[1]], query)
