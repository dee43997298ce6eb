#!/usr/bin/env python3
"""Writes the Grafana dashboards of the chart, below helm/antigravity-proxy/files/dashboards.

A dashboard is rows of panels, a panel is a title, a unit and queries; where each stands follows from its row. In a
query `@` stands for the matchers of the dashboard's variables, so that `requests_total{@}` is what the reader has
chosen. Metrics are written without `antigravity_proxy_`, which is put in front of all but `up` and `process_…`. Each
variable offers "All", which also matches metrics without the label: a Prometheus without the operator gives its
targets no namespace. Replicas are told by `pod`, or by `instance` where there is none.
"""

import json
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "helm/antigravity-proxy/files/dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT = 24, 8
REPLICA = "{{pod}} {{instance}}"
# What the error budget counts (files/alerts/slo.yaml).
ELIGIBLE = 'outcome!~"client_error|cancelled|rate_limited"'
FAILED = 'outcome!~"served|client_error|cancelled|rate_limited"'

# States of accounts.
AVAILABLE, RESTING, INVALID = 'state=~"available|busy"', 'state=~"limited|cooling"', 'state=~"invalid|damaged"'


def rate(metric, by="", matchers=""):
    """Per second, summed up by labels, or altogether."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({selected(metric, matchers)}[$__rate_interval]))"


def selected(metric, matchers=""):
    return f"{metric}{{{matchers}{',' if matchers else ''}@}}"


def quantile(share, metric, by="", matchers=""):
    """A quantile of a histogram, by labels."""
    labels = ", ".join(filter(None, ["le", by]))
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', labels, matchers)})"


def quantiles(metric, *shares, by="", legend="", matchers=""):
    return [
        (quantile(share, metric, by, matchers), f"{legend} p{share * 100:g}".strip())
        for share in shares or (0.5, 0.95, 0.99)
    ]


def share(part, whole):
    """A share; 0 where there is a whole and no part."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def of_pool(metric, by="", matchers=""):
    """A gauge of the whole pool, summed up by labels or altogether, over pools too.

    Every replica tells it; one that does not reach the store tells what was true before.
    """
    cut_off = f"on (namespace, job, pod, instance) {selected('store_up')} == 0"
    once = f"max by (namespace, job, state) ({selected(metric, matchers)} unless {cut_off})"
    return f"sum{f' by ({by}) ' if by else ''}({once})"


def graph(title, unit, *queries, stacked=False, description="", most=None):
    defaults = {"unit": unit, "min": 0, "custom": {"fillOpacity": 10, "showPoints": "never"}}
    if stacked:
        defaults["custom"] |= {"fillOpacity": 40, "stacking": {"mode": "normal"}}
    if most is not None:
        defaults["max"] = most
    options = {"legend": {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]},
               "tooltip": {"mode": "multi", "sort": "desc"}}  # fmt: skip
    return panel("timeseries", title, queries, defaults, options, description)


def number(title, unit, query, description="", steps=()):
    """One figure; `steps` are (colour, from which value on)."""
    colours = [{"color": "green", "value": None}, *({"color": colour, "value": value} for colour, value in steps)]
    defaults = {"unit": unit, "thresholds": {"mode": "absolute", "steps": colours}}
    options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    return panel("stat", title, [(query, title)], defaults, options, description)


def panel(kind, title, queries, defaults, options, description):
    return {
        "type": kind,
        "title": title,
        **({"description": description} if description else {}),
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for place, (query, legend) in enumerate(queries)
        ],
    }


def variable(name, label, metric, chosen):
    """Values of a label among the metrics that the variables before it have chosen."""
    return {
        "name": name,
        "type": "query",
        "label": label,
        "datasource": SOURCE,
        "query": {"query": f"label_values({metric}{{{chosen}}}, {name})", "refId": name},
        "definition": f"label_values({metric}{{{chosen}}}, {name})",
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def dashboard(uid, title, description, rows, more=()):
    """`more`: further variables, each (name, label, metric)."""
    variables, chosen = [], ""
    for name, label, metric in [
        ("namespace", "Namespace", "build_info"),
        ("job", "Job", "build_info"),
        *more,
    ]:
        variables.append(variable(name, label, f"antigravity_proxy_{metric}", chosen))
        chosen += f'{"," if chosen else ""}{name}=~"${name}"'
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source", "current": {}}
    common = 'namespace=~"$namespace",job=~"$job"'
    alerts = {
        "name": "Alerts", "enable": True, "iconColor": "red", "datasource": SOURCE, "step": "60s",
        "expr": f'ALERTS{{alertname=~"AntigravityProxy.+",alertstate="firing",{common}}}',
        "titleFormat": "{{alertname}}", "textFormat": "{{pod}} {{model}}",
    }  # fmt: skip
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["antigravity-proxy"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Dashboards", "tags": ["antigravity-proxy"], "asDropdown": False,
                   "includeVars": True, "keepTime": True}],
        "annotations": {"list": [alerts]},
        "templating": {"list": [source, *variables]},
        "panels": list(placed(rows, common, chosen)),
    }  # fmt: skip


def placed(rows, common, chosen):
    """The panels of all rows with their places; a row is a title and panels that share its width, line by line."""
    below, number = 0, 0
    for title, *lines in rows:
        number += 1
        yield {"type": "row", "title": title, "id": number, "collapsed": False, "panels": [],
               "gridPos": {"x": 0, "y": below, "w": WIDTH, "h": 1}}  # fmt: skip
        below += 1
        for line in lines:
            width = WIDTH // len(line)
            height = HEIGHT // 2 if all(one["type"] == "stat" for one in line) else HEIGHT
            for place, one in enumerate(line):
                number += 1
                for target in one["targets"]:
                    target["expr"] = written(target["expr"], common, chosen)
                yield {**one, "id": number, "gridPos": {"x": place * width, "y": below, "w": width, "h": height}}
            below += height


def written(query, common, chosen):
    """The query with its variables and whole names. Only metrics by model have a model to choose."""

    def whole(match):
        name, matchers = match.groups()
        full = name if name == "up" or name.startswith("process_") else f"antigravity_proxy_{name}"
        by_model = re.match(r"(requests_total|first_event_|stream_|tokens_)", name)
        return f"{full}{{{matchers.replace('@', chosen if by_model else common)}}}"

    return re.sub(r"\b([a-z_]+)\{([^{}]*@[^{}]*)\}", whole, query)


REQUESTS = dashboard(
    "antigravity-proxy-requests",
    "antigravity-proxy: requests",
    "Rate, errors and durations of model requests as clients see them.",
    [
        (
            "Now",
            [
                number("Requests", "reqps", rate("requests_total")),
                number(
                    "Failed",
                    "percentunit",
                    share(
                        rate("requests_total", matchers=FAILED),
                        rate("requests_total", matchers=ELIGIBLE),
                    ),
                    "Without mistakes of clients, cancelled requests and used up quotas.",
                    [("orange", 0.005), ("red", 0.05)],
                ),
                number("First event, p95", "s", quantile(0.95, "first_event_duration_seconds"), steps=[("orange", 10)]),
                number("Streams in flight", "short", f"sum({selected('streams_in_flight')})"),
                number("Output tokens", "cps", rate("tokens_total", matchers='kind="output"')),
            ],
        ),
        (
            "Requests",
            [
                graph("By outcome", "reqps", (rate("requests_total", "outcome"), "{{outcome}}"), stacked=True),
                graph("By model", "reqps", (rate("requests_total", "model"), "{{model}}"), stacked=True),
            ],
            [
                graph("By status", "reqps", (rate("requests_total", "status"), "{{status}}"), stacked=True),
                graph("By replica", "reqps", (rate("requests_total", "pod, instance"), REPLICA), stacked=True),
            ],
        ),
        (
            "Errors",
            [
                graph(
                    "Failed, share by model",
                    "percentunit",
                    (
                        share(rate("requests_total", "model", FAILED), rate("requests_total", "model", ELIGIBLE)),
                        "{{model}}",
                    ),
                    most=1,
                    description="What the error budget counts; see docs/operations.md.",
                ),
                graph(
                    "Failed by outcome and model",
                    "reqps",
                    (rate("requests_total", "outcome, model", FAILED), "{{outcome}} {{model}}"),
                    stacked=True,
                ),
            ],
            [
                graph(
                    "Refused for used up quotas, by model",
                    "reqps",
                    (rate("requests_total", "model", 'outcome="rate_limited"'), "{{model}}"),
                    stacked=True,
                ),
                graph(
                    "Answers of /v1 that are errors, by route",
                    "reqps",
                    (
                        rate("http_requests_total", "route, status", 'route=~"/v1/.+",status=~"4xx|5xx"'),
                        "{{route}} {{status}}",
                    ),
                    description="With those that were refused before they were looked at: keys, sizes, unknown paths.",
                ),
            ],
        ),
        (
            "Durations",
            [
                graph("Time to the first event", "s", *quantiles("first_event_duration_seconds")),
                graph(
                    "Time to the first event, p95 by model",
                    "s",
                    *quantiles("first_event_duration_seconds", 0.95, by="model", legend="{{model}}"),
                ),
            ],
            [
                graph(
                    "Time to the first event, p95 by replica",
                    "s",
                    *quantiles("first_event_duration_seconds", 0.95, by="pod, instance", legend=REPLICA),
                ),
                graph(
                    "Streams, p50 and p95 by model",
                    "s",
                    *quantiles("stream_duration_seconds", 0.5, 0.95, by="model", legend="{{model}}"),
                    description="From the first event to the end.",
                ),
            ],
            [
                graph(
                    "Heads of answers, p95 by route",
                    "s",
                    *quantiles("http_request_duration_seconds", 0.95, by="route", legend="{{route}}"),
                ),
                graph(
                    "Streams in flight by replica",
                    "short",
                    (f"sum by (pod, instance) ({selected('streams_in_flight')})", REPLICA),
                    stacked=True,
                ),
            ],
        ),
        (
            "Tokens",
            [
                graph(
                    "By kind",
                    "cps",
                    (rate("tokens_total", "kind"), "{{kind}}"),
                    description="Thinking is part of the output, too.",
                ),
                graph(
                    "Output by model",
                    "cps",
                    (rate("tokens_total", "model", 'kind="output"'), "{{model}}"),
                    stacked=True,
                ),
                graph(
                    "Share of prompts read from the cache, by model",
                    "percentunit",
                    (
                        share(
                            rate("tokens_total", "model", 'kind="cache_read"'),
                            rate("tokens_total", "model", 'kind=~"input|cache_read"'),
                        ),
                        "{{model}}",
                    ),
                    most=1,
                ),
            ],
        ),
    ],
    more=[("model", "Model", "requests_total")],
)

POOL = dashboard(
    "antigravity-proxy-pool",
    "antigravity-proxy: pool",
    "Accounts, waits and retries, Cloud Code, the store, and the replicas.",
    [
        (
            "Now",
            [
                number("Available accounts", "short", of_pool("accounts", matchers=AVAILABLE)),
                number(
                    "Limited or at rest",
                    "short",
                    of_pool("accounts", matchers=RESTING),
                ),
                number(
                    "Need their owners",
                    "short",
                    of_pool("accounts", matchers=INVALID),
                    steps=[("orange", 1)],
                ),
                number("Waiting requests", "short", f"sum({selected('pool_waiters')})"),
                number("Store reached by", "percentunit", f"avg({selected('store_up')})", "Share of the replicas."),
                number("Replicas", "short", f"count({selected('build_info')})"),
            ],
        ),
        (
            "Accounts",
            [
                graph("Accounts by state", "short", (of_pool("accounts", "state"), "{{state}}"), stacked=True),
                graph(
                    "Requests in flight by state of their account",
                    "short",
                    (of_pool("account_requests_in_flight", "state"), "{{state}}"),
                    stacked=True,
                ),
            ],
            [
                graph(
                    "Admissions by decision",
                    "reqps",
                    (rate("admissions_total", "decision"), "{{decision}}"),
                    stacked=True,
                ),
                graph("Admissions by strategy", "reqps", (rate("admissions_total", "strategy"), "{{strategy}}")),
                graph("Limits by kind", "cps", (rate("limits_set_total", "kind"), "{{kind}}"), stacked=True),
            ],
        ),
        (
            "Waits and retries",
            [
                graph(
                    "Waiting requests by replica",
                    "short",
                    (f"sum by (pod, instance) ({selected('pool_waiters')})", REPLICA),
                ),
                graph("Waits by reason", "reqps", (rate("pool_waits_total", "reason"), "{{reason}}"), stacked=True),
                graph("Waits", "s", *quantiles("pool_wait_duration_seconds")),
            ],
            [
                graph("Retries by reason", "reqps", (rate("retries_total", "reason"), "{{reason}}"), stacked=True),
                graph("Retries by step", "reqps", (rate("retries_total", "step"), "{{step}}"), stacked=True),
            ],
        ),
        (
            "Cloud Code",
            [
                graph(
                    "Calls by outcome",
                    "reqps",
                    (rate("upstream_attempts_total", "outcome"), "{{outcome}}"),
                    stacked=True,
                ),
                graph(
                    "Headers of answers, p95 by endpoint and method",
                    "s",
                    *quantiles(
                        "upstream_header_duration_seconds",
                        0.95,
                        by="endpoint, method",
                        legend="{{endpoint}} {{method}}",
                    ),
                ),
            ],
            [
                graph("Access tokens by outcome", "cps", (rate("token_refreshes_total", "outcome"), "{{outcome}}")),
                graph("Token endpoint", "s", *quantiles("token_refresh_duration_seconds")),
                graph("Token counts by source", "reqps", (rate("token_counts_total", "source"), "{{source}}")),
            ],
        ),
        (
            "Store",
            [
                graph("Calls by script", "ops", (rate("store_calls_total", "script"), "{{script}}")),
                graph(
                    "Round trips, p99 by script",
                    "s",
                    *quantiles("store_call_duration_seconds", 0.99, by="script", legend="{{script}}"),
                ),
                graph(
                    "Round trips of admissions",
                    "s",
                    *quantiles("store_call_duration_seconds", matchers='script="admit"'),
                    description="What every request waits for.",
                ),
            ],
            [
                graph("Errors by script", "ops", (rate("store_errors_total", "script"), "{{script}}")),
                graph("Reached", "bool_yes_no", (f"min by (pod, instance) ({selected('store_up')})", REPLICA), most=1),
                graph(
                    "Time without it",
                    "percentunit",
                    (rate("store_outage_seconds_total", "pod, instance"), REPLICA),
                    most=1,
                ),
                graph(
                    "Outages",
                    "short",
                    (
                        f"sum by (pod, instance) (increase({selected('store_outages_total')}[$__rate_interval]))",
                        REPLICA,
                    ),
                ),
            ],
        ),
        (
            "Queues",
            [
                graph(
                    "Waiting for the store",
                    "short",
                    (f"sum({selected('settlements_queued')})", "settlements"),
                    (f"sum by (topic) ({selected('feed_queued')})", "{{topic}}"),
                ),
                graph(
                    "Lost",
                    "cps",
                    (rate("settlements_dropped_total"), "settlements"),
                    (rate("signature_put_failures_total"), "signatures"),
                    (rate("feed_dropped_total", "topic"), "{{topic}}"),
                    (rate("dropped_blocks_total"), "unknown content blocks"),
                ),
            ],
        ),
        (
            "Replicas",
            [
                graph(
                    "Replicas by version",
                    "short",
                    (f"count by (version) ({selected('build_info')})", "{{version}}"),
                    stacked=True,
                ),
                graph(
                    "Replicas as each of them sees them",
                    "short",
                    (f"max by (pod, instance) ({selected('replicas')})", REPLICA),
                ),
                graph(
                    "Shared settings: generation",
                    "short",
                    (f"max by (pod, instance) ({selected('shared_settings_generation')})", REPLICA),
                    description="All replicas should have the same.",
                ),
                graph(
                    "Shared settings: rejected",
                    "bool_yes_no",
                    (f"max by (pod, instance) ({selected('shared_settings_rejected')})", REPLICA),
                    most=1,
                ),
            ],
            [
                graph(
                    "CPU", "short", (rate("process_cpu_seconds_total", "pod, instance"), REPLICA), description="Cores."
                ),
                graph(
                    "Memory",
                    "bytes",
                    (f"max by (pod, instance) ({selected('process_resident_memory_bytes')})", REPLICA),
                ),
                graph("Open files", "short", (f"max by (pod, instance) ({selected('process_open_fds')})", REPLICA)),
                graph(
                    "Running for",
                    "s",
                    (f"time() - max by (pod, instance) ({selected('process_start_time_seconds')})", REPLICA),
                ),
            ],
        ),
    ],
)


if __name__ == "__main__":
    for name, content in {"requests": REQUESTS, "pool": POOL}.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
