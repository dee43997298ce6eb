"""Situations for `test_rules.py`: synthetic series of a release, and when which alert fires in them.

`CASES` fire; `MISSES` differ from one of them in one thing and do not. Where a time follows from a
window (a rate of five minutes has to rise before it counts), the case says what lets it be expected.
"""

import dataclasses

from prometheus import seconds


def counter(*parts, step=30):
    """A counter from 0 on: each part is (growth per minute, for how long). Whole numbers, so that none looks reset."""
    text, value, first = [], 0, True
    for growth, duration in parts:
        growth, fraction = divmod(growth * step, 60)
        assert not fraction
        steps = seconds(duration) // step
        text.append(f"{0 if first else value + growth}+{growth}x{steps - (not first)}")
        value, first = value + growth * steps, False
    return " ".join(text)


def gauge(*parts, step=30):
    """A gauge: each part is (value, for how long); `None` is a series that is not there."""
    values = []
    for value, duration in parts:
        steps = seconds(duration) // step
        values.append(f"_x{steps}" if value is None else f"{value:g}x{steps - 1}")
    return " ".join(values)


def requests(outcome, model="m", pod="a"):
    return f'antigravity_proxy_requests_total{{pod="{pod}",model="{model}",outcome="{outcome}"}}'


def accounts(state, pod="a"):
    return f'antigravity_proxy_accounts{{pod="{pod}",state="{state}"}}'


def reaches(pod="a"):
    return f'antigravity_proxy_store_up{{pod="{pod}"}}'


def first_events(le=None, model="m"):
    name = "antigravity_proxy_first_event_duration_seconds"
    return f'{name}_bucket{{model="{model}",le="{le}"}}' if le else f'{name}_count{{model="{model}"}}'


@dataclasses.dataclass(frozen=True)
class Case:
    """What happens, and when the alert fires and ends, told so."""

    alert: str
    what: str
    series: dict
    fires: str
    severity: str
    summary: str
    description: str = ""
    labels: dict = dataclasses.field(default_factory=dict)
    ends: str = ""
    # What it says in the end, where that differs.
    last: str = ""
    step: int = 30
    values: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Miss:
    """What happens until when without the alert."""

    alert: str
    what: str
    series: dict
    until: str
    step: int = 30
    values: dict = dataclasses.field(default_factory=dict)


CASES = []
MISSES = []


def case(*args, **more):
    CASES.append(Case(*args, **more))


def miss(*args, **more):
    MISSES.append(Miss(*args, **more))


# Service levels. Of the requests 99.5 % shall be answered, of the answers 95 % shall begin within 10 s.

FAST = "AntigravityProxyErrorBudgetBurnsFast"
case(
    FAST,
    "everything fails for ten minutes",
    {
        requests("served"): counter((60, "8h"), (0, "10m"), (60, "1h")),
        requests("overloaded"): counter((0, "8h"), (60, "10m"), (0, "1h")),
    },
    # 7.2 % of an hour are 4 min 20 s; the rate of five minutes follows 2 min 30 s behind, and needs as long to fall.
    fires="8h7m30s",
    ends="8h15m",
    severity="critical",
    summary="gw fails 8.678% of the requests",
    last="gw fails 16.53% of the requests",
)
case(
    FAST,
    "every twentieth request fails for hours",
    {
        requests("served"): counter((60, "7h"), (57, "6h"), step=60),
        requests("upstream_error", pod="b"): counter((0, "7h"), (3, "6h"), step=60),
    },
    # 3 % of six hours, at 5 %: 3 h 36 min and the 2 min 30 s.
    fires="10h40m",
    severity="critical",
    summary="gw fails 3.019% of the requests",
    step=60,
)
for outcome in ("overloaded", "upstream_error", "no_account", "deadline", "broken", "internal", "of_a_later_version"):
    case(
        FAST,
        f"every tenth request ends as {outcome}",
        {requests("served"): counter((54, "1h")), requests(outcome): counter((6, "1h"))},
        # As soon as there are ten.
        fires="2m30s",
        severity="critical",
        summary="gw fails 10% of the requests",
    )
for outcome in ("client_error", "cancelled", "rate_limited"):
    miss(
        FAST,
        f"every tenth request ends as {outcome}",
        {requests("served"): counter((54, "1h")), requests(outcome): counter((6, "1h"))},
        until="1h",
    )
miss(
    FAST,
    "every fiftieth request fails, four times as many as may",
    {requests("served"): counter((294, "8h"), step=60), requests("overloaded"): counter((6, "8h"), step=60)},
    until="8h",
    step=60,
)
miss(
    FAST,
    "everything fails for three minutes",
    {
        requests("served"): counter((60, "8h"), (0, "3m"), (60, "1h"), step=60),
        requests("overloaded"): counter((0, "8h"), (60, "3m"), (0, "1h"), step=60),
    },
    until="9h",
    step=60,
)
miss(
    FAST,
    "nine requests of a quiet night fail",
    {requests("served"): counter((2, "2h")), requests("overloaded"): counter((0, "1h"), (18, "30s"), (0, "1h"))},
    until="2h",
)

SLOW = "AntigravityProxyErrorBudgetBurnsSlowly"
case(
    SLOW,
    "one of a hundred fails for days",
    {
        requests("served"): counter((100, "1d"), (99, "2d"), step=240),
        requests("upstream_error"): counter((0, "1d"), (1, "2d"), step=240),
    },
    # Half of two days, and the windows' delay.
    fires="2d20m",
    severity="warning",
    summary="gw fails 0.5033% of the requests, more than it may",
    step=240,
)
case(
    SLOW,
    "every fiftieth request of a quiet day fails",
    {
        requests("served"): counter((1000, "1d"), (98, "1d"), step=240),
        requests("upstream_error"): counter((0, "1d"), (2, "1d"), step=240),
    },
    fires="1d23h36m",
    severity="warning",
    summary="gw fails 1.669% of the requests, more than it may",
    step=240,
)
miss(
    SLOW,
    "four of a thousand fail for days, which is allowed",
    {requests("served"): counter((996, "3d"), step=240), requests("broken"): counter((4, "3d"), step=240)},
    until="3d",
    step=240,
)

LATE = "AntigravityProxyLatencyBudgetBurnsFast"
for bound in ("10", "10.0"):
    case(
        LATE,
        f"all answers begin late, le={bound}",
        {first_events(): counter((60, "2h")), first_events(bound): counter((60, "1h"), (0, "1h"))},
        # 30 % of the time that there is, over which the window of six hours looks.
        fires="1h28m30s",
        severity="warning",
        summary="30.43% of the answers of gw begin after 10 s",
    )
case(
    LATE,
    "all answers begin later than a short time",
    {
        first_events(): counter((60, "2h")),
        first_events("10"): counter((60, "2h")),
        first_events("2.5"): counter((60, "1h"), (0, "1h")),
    },
    fires="1h28m30s",
    severity="warning",
    summary="30.43% of the answers of gw begin after 2.5 s",
    values={"slo": {"firstEventSeconds": 2.5}},
)
case(
    LATE,
    "all answers begin late for an hour, after many that did not",
    {first_events(): counter((60, "7h"), step=60), first_events("10"): counter((60, "6h"), (0, "1h"), step=60)},
    # 72 % of an hour.
    fires="6h47m",
    severity="warning",
    summary="73.77% of the answers of gw begin after 10 s",
    step=60,
)
miss(
    LATE,
    "a quarter of the answers begins late",
    {first_events(): counter((80, "4h")), first_events("10"): counter((60, "4h"))},
    until="4h",
)
miss(
    LATE,
    "few answers begin late, and there are few",
    {first_events(): counter((0, "1h"), (18, "30s"), (0, "1h")), first_events("10"): counter((0, "2h"))},
    until="2h",
)

SLOW_LATE = "AntigravityProxyLatencyBudgetBurnsSlowly"
case(
    SLOW_LATE,
    "a tenth of the answers begins late for days",
    {first_events(): counter((100, "3d"), step=240), first_events("10"): counter((100, "1d"), (90, "2d"), step=240)},
    fires="2d16m",
    severity="warning",
    summary="5.029% of the answers of gw begin after 10 s, more than may",
    step=240,
)
case(
    SLOW_LATE,
    "a fifth of the answers of a quiet day begins late",
    {
        first_events(): counter((1000, "1d"), (100, "1d"), step=240),
        first_events("10"): counter((1000, "1d"), (80, "1d"), step=240),
    },
    fires="1d23h36m",
    severity="warning",
    summary="16.7% of the answers of gw begin after 10 s, more than may",
    step=240,
)
miss(
    SLOW_LATE,
    "one of 25 answers begins late for days, which is allowed",
    {first_events(): counter((25, "3d"), step=240), first_events("10"): counter((24, "3d"), step=240)},
    until="3d",
    step=240,
)

# The pool. Its accounts are told by every replica.

EXHAUSTED = "AntigravityProxyPoolExhausted"
case(
    EXHAUSTED,
    "the last account is limited",
    {
        accounts("available"): gauge((2, "10m"), (0, "20m"), (1, "5m")),
        accounts("limited"): gauge((1, "10m"), (3, "20m"), (2, "5m")),
        # As it was before this replica looked again.
        accounts("available", pod="b"): gauge((2, "11m"), (0, "20m"), (1, "4m")),
        accounts("limited", pod="b"): gauge((1, "11m"), (3, "20m"), (2, "4m")),
    },
    fires="11m30s",
    ends="30m",
    severity="critical",
    summary="No account of gw is available",
)
case(
    EXHAUSTED,
    "a replica that does not reach the store has seen other times",
    {
        accounts("available"): gauge((3, "10m"), (0, "20m"), (3, "5m")),
        accounts("limited"): gauge((0, "10m"), (3, "20m"), (0, "5m")),
        reaches(): gauge((1, "35m")),
        # From two minutes before on until it reaches the store again.
        accounts("available", pod="b"): gauge((3, "35m")),
        accounts("limited", pod="b"): gauge((0, "35m")),
        reaches("b"): gauge((1, "8m"), (0, "24m"), (1, "3m")),
    },
    fires="10m30s",
    ends="30m",
    severity="critical",
    summary="No account of gw is available",
)
miss(
    EXHAUSTED,
    "no replica reaches the store any more",
    {
        accounts("available"): gauge((0, "1h")),
        accounts("limited"): gauge((3, "1h")),
        reaches(): gauge((0, "1h")),
        accounts("available", pod="b"): gauge((0, "1h")),
        accounts("limited", pod="b"): gauge((3, "1h")),
        reaches("b"): gauge((0, "1h")),
    },
    until="1h",
)
miss(
    EXHAUSTED,
    "that replica alone has seen that none is left",
    {
        accounts("available"): gauge((3, "1h")),
        accounts("limited"): gauge((0, "1h")),
        reaches(): gauge((1, "1h")),
        accounts("available", pod="b"): gauge((0, "1h")),
        accounts("limited", pod="b"): gauge((3, "1h")),
        reaches("b"): gauge((0, "1h")),
    },
    until="1h",
)
miss(
    EXHAUSTED,
    "one account is left",
    {accounts("available"): gauge((1, "1h")), accounts("limited"): gauge((40, "1h"))},
    until="1h",
)
miss(
    EXHAUSTED,
    "the last account is busy",
    {
        accounts("available"): gauge((0, "1h")),
        accounts("busy"): gauge((1, "1h")),
        accounts("limited"): gauge((3, "1h")),
    },
    until="1h",
)
miss(
    EXHAUSTED,
    "all accounts are switched off",
    {
        accounts("available"): gauge((1, "10m"), (0, "30m")),
        accounts("limited"): gauge((0, "40m")),
        accounts("disabled"): gauge((0, "10m"), (1, "30m")),
    },
    until="40m",
)

EMPTY = "AntigravityProxyPoolEmpty"
case(
    EMPTY,
    "the last account becomes invalid, another one is switched off",
    {
        accounts("available"): gauge((1, "10m"), (0, "10m"), (1, "5m")),
        accounts("limited"): gauge((0, "25m")),
        accounts("invalid"): gauge((1, "10m"), (2, "10m"), (1, "5m")),
        accounts("disabled"): gauge((1, "25m")),
    },
    fires="15m",
    ends="20m",
    severity="critical",
    summary="gw has no usable account",
)
case(
    EXHAUSTED,
    "no account has an access token",
    {
        accounts("available"): gauge((0, "1h")),
        accounts("busy"): gauge((0, "1h")),
        accounts("cooling"): gauge((2, "1h")),
    },
    fires="30s",
    severity="critical",
    summary="No account of gw is available",
)
case(
    EMPTY,
    "there are no accounts at all",
    {accounts(state): gauge((0, "20m")) for state in ("available", "limited", "invalid", "disabled")},
    fires="5m",
    severity="critical",
    summary="gw has no usable account",
)
miss(
    EMPTY,
    "all usable accounts are limited",
    {
        accounts("available"): gauge((0, "30m")),
        accounts("limited"): gauge((1, "30m")),
        accounts("invalid"): gauge((5, "30m")),
    },
    until="30m",
)
case(
    EMPTY,
    "a replica that does not reach the store still sees accounts",
    {
        **{accounts(state): gauge((0, "20m")) for state in ("available", "limited", "invalid", "disabled")},
        reaches(): gauge((1, "20m")),
        accounts("available", pod="b"): gauge((5, "20m")),
        reaches("b"): gauge((0, "20m")),
    },
    fires="5m",
    severity="critical",
    summary="gw has no usable account",
)
miss(
    EMPTY,
    "it is filled within five minutes",
    {accounts("available"): gauge((0, "4m"), (1, "30m")), accounts("limited"): gauge((0, "34m"))},
    until="30m",
)

FEW = "AntigravityProxyFewAccountsLeft"
case(
    FEW,
    "one of five accounts is left",
    {
        accounts("available"): gauge((4, "10m"), (1, "20m"), (2, "5m")),
        accounts("limited"): gauge((0, "10m"), (3, "20m"), (2, "5m")),
        accounts("invalid"): gauge((1, "35m")),
        accounts("disabled"): gauge((7, "35m")),
    },
    fires="15m",
    ends="30m",
    severity="warning",
    summary="Only 20% of the accounts of gw can serve",
)
case(
    FEW,
    "half of the accounts are left, and more are wanted",
    {accounts("available"): gauge((2, "20m")), accounts("limited"): gauge((2, "20m"))},
    fires="5m",
    severity="warning",
    summary="Only 50% of the accounts of gw can serve",
    values={"thresholds": {"availableAccounts": 0.6}},
)
case(
    FEW,
    "and a replica that does not reach the store has seen other times",
    {
        accounts("available"): gauge((1, "20m")),
        accounts("limited"): gauge((4, "20m")),
        reaches(): gauge((1, "20m")),
        accounts("available", pod="b"): gauge((5, "20m")),
        accounts("limited", pod="b"): gauge((0, "20m")),
        reaches("b"): gauge((0, "20m")),
    },
    fires="5m",
    severity="warning",
    summary="Only 20% of the accounts of gw can serve",
)
miss(
    FEW,
    "one of four enabled accounts is left",
    {
        accounts("available"): gauge((1, "1h")),
        accounts("limited"): gauge((3, "1h")),
        accounts("disabled"): gauge((40, "1h")),
    },
    until="1h",
)
miss(
    FEW,
    "none is left, which is another alert's business",
    {accounts("available"): gauge((0, "1h")), accounts("limited"): gauge((5, "1h"))},
    until="1h",
)

INVALID = "AntigravityProxyAccountsInvalid"
case(
    INVALID,
    "two sign-ins are revoked",
    {accounts("available"): gauge((9, "30m")), accounts("invalid"): gauge((0, "10m"), (2, "10m"), (0, "10m"))},
    fires="15m",
    ends="20m",
    severity="warning",
    summary="2 accounts of gw need their owners",
)
case(
    INVALID,
    "a record cannot be read",
    {accounts("invalid"): gauge((2, "30m")), accounts("damaged"): gauge((1, "30m"))},
    fires="5m",
    severity="warning",
    summary="3 accounts of gw need their owners",
)
miss(
    INVALID,
    "a replica that does not reach the store does not know that they were signed in again",
    {
        accounts("invalid"): gauge((2, "4m"), (0, "30m")),
        reaches(): gauge((1, "34m")),
        accounts("invalid", pod="b"): gauge((2, "34m")),
        reaches("b"): gauge((1, "3m"), (0, "31m")),
    },
    until="34m",
)
miss(
    INVALID,
    "one is signed in again within five minutes",
    {accounts("invalid"): gauge((0, "10m"), (1, "4m"), (0, "30m"))},
    until="40m",
)
miss(
    INVALID,
    "accounts are limited and switched off",
    {
        accounts("invalid"): gauge((0, "1h")),
        accounts("limited"): gauge((3, "1h")),
        accounts("disabled"): gauge((2, "1h")),
    },
    until="1h",
)

MODEL = "AntigravityProxyModelExhausted"
case(
    MODEL,
    "the quota of one of two models is used up",
    {
        requests("served", "opus"): counter((60, "10m"), (0, "20m"), (60, "10m")),
        requests("rate_limited", "opus"): counter((0, "10m"), (60, "20m"), (0, "10m")),
        requests("served", "flash"): counter((600, "40m")),
    },
    # More than half of five minutes, and 30 s.
    fires="13m30s",
    ends="32m30s",
    severity="warning",
    summary="gw refuses 70% of the requests for opus",
    last="gw refuses 60% of the requests for opus",
    labels={"model": "opus"},
)
miss(
    MODEL,
    "a third of the requests is refused",
    {requests("served", "opus"): counter((40, "1h")), requests("rate_limited", "opus"): counter((20, "1h"))},
    until="1h",
)
miss(
    MODEL,
    "requests are refused for their own mistakes",
    {requests("served", "opus"): counter((6, "1h")), requests("client_error", "opus"): counter((60, "1h"))},
    until="1h",
)
miss(
    MODEL,
    "one person asks once a minute and is refused",
    {requests("rate_limited", "opus"): counter((0, "10m"), (2, "4m"), (0, "20m"))},
    until="30m",
)

WAITS = "AntigravityProxyWaitsSaturating"


def waits(reason):
    """Waits that have ended, each with an account or with its request."""
    return f'antigravity_proxy_pool_wait_duration_seconds_count{{pod="a",reason="{reason}"}}'


def admissions(decision):
    return f'antigravity_proxy_admissions_total{{pod="a",strategy="sticky",decision="{decision}"}}'


case(
    WAITS,
    "a third of the accounts that are asked for is waited for",
    {
        admissions("normal"): counter((40, "1h")),
        admissions("last_resort"): counter((20, "1h")),
        # What is asked while it waits.
        admissions("wait"): counter((0, "10m"), (600, "20m"), (0, "30m")),
        requests("served"): counter((60, "1h")),
        waits("busy"): counter((0, "10m"), (10, "50m")),
        waits("limited"): counter((0, "10m"), (10, "20m"), (0, "30m")),
    },
    # 20 % is 60 % of 33 %: three of five minutes, and 5 min.
    fires="18m30s",
    ends="34m",
    severity="warning",
    summary="33.33% of the times that requests to gw ask for an account they wait",
    last="21.67% of the times that requests to gw ask for an account they wait",
)
case(
    WAITS,
    "every request waits three times",
    {
        admissions("normal"): counter((60, "1h")),
        requests("served"): counter((20, "1h")),
        waits("limited"): counter((60, "1h")),
    },
    fires="5m30s",
    severity="warning",
    summary="100% of the times that requests to gw ask for an account they wait",
)
case(
    WAITS,
    "all wait and none is given an account",
    {
        admissions("normal"): counter((0, "1h")),
        requests("served"): counter((0, "1h")),
        requests("overloaded"): counter((10, "1h")),
        requests("cancelled"): counter((10, "1h")),
        waits("busy"): counter((20, "1h")),
    },
    fires="5m30s",
    severity="warning",
    summary="100% of the times that requests to gw ask for an account they wait",
)
miss(
    WAITS,
    "a sixth of the accounts that are asked for is waited for",
    {
        admissions("normal"): counter((60, "1h")),
        requests("served"): counter((60, "1h")),
        waits("busy"): counter((10, "1h")),
    },
    until="1h",
)
miss(
    WAITS,
    "requests go through many accounts and seldom wait",
    {
        admissions("normal"): counter((200, "1h")),
        requests("served"): counter((20, "1h")),
        waits("busy"): counter((20, "1h")),
    },
    until="1h",
)
miss(
    WAITS,
    "all are refused at once",
    {
        admissions("normal"): counter((0, "1h")),
        requests("rate_limited"): counter((60, "1h")),
        waits("busy"): counter((6, "1h")),
    },
    until="1h",
)
miss(
    WAITS,
    "a third waits for four minutes",
    {
        admissions("normal"): counter((60, "1h")),
        requests("served"): counter((60, "1h")),
        waits("busy"): counter((0, "20m"), (20, "4m"), (0, "36m")),
    },
    until="1h",
)

UPSTREAM = "AntigravityProxyUpstreamFailing"


def attempts(outcome):
    return f'antigravity_proxy_upstream_attempts_total{{pod="a",outcome="{outcome}"}}'


for outcome in ("server_error", "transport", "capacity", "empty", "deadline"):
    case(
        UPSTREAM,
        f"most calls end as {outcome}",
        {
            attempts("success"): counter((60, "10m"), (20, "20m"), (60, "10m")),
            attempts(outcome): counter((0, "10m"), (40, "20m"), (0, "10m")),
        },
        fires="14m30s",
        ends="31m30s",
        severity="warning",
        summary="Cloud Code fails 60% of the calls of gw",
        last="Cloud Code fails 53.33% of the calls of gw",
    )
for outcome in ("rate_limited", "client_error", "unauthorized"):
    miss(
        UPSTREAM,
        f"most calls end as {outcome}",
        {attempts("success"): counter((20, "30m")), attempts(outcome): counter((40, "30m"))},
        until="30m",
    )
miss(
    UPSTREAM,
    "a third of the calls fails",
    {attempts("success"): counter((40, "30m")), attempts("server_error"): counter((20, "30m"))},
    until="30m",
)

REFRESH = "AntigravityProxyTokenRefreshFailing"


def refreshes(outcome):
    return f'antigravity_proxy_token_refreshes_total{{pod="a",outcome="{outcome}"}}'


case(
    REFRESH,
    "the token endpoint is away",
    {
        refreshes("refreshed"): counter((2, "30m"), (0, "30m"), (2, "30m")),
        refreshes("failed"): counter((0, "30m"), (2, "30m"), (0, "30m")),
        refreshes("adopted"): counter((20, "90m")),
        refreshes("rejected"): counter((8, "90m")),
    },
    fires="43m",
    ends="1h7m30s",
    severity="warning",
    summary="gw fails to get 86.67% of its access tokens",
    last="gw fails to get 53.33% of its access tokens",
)
miss(
    REFRESH,
    "sign-ins were revoked",
    {refreshes("refreshed"): counter((2, "1h")), refreshes("rejected"): counter((20, "1h"))},
    until="1h",
)
miss(
    REFRESH,
    "a third of the renewals fails",
    {refreshes("refreshed"): counter((4, "1h")), refreshes("failed"): counter((2, "1h"))},
    until="1h",
)

# Replicas and their store.

STORE = "AntigravityProxyStoreDown"


def up(pod="a", instance="10.0.0.1:9464", name="antigravity_proxy_store_up"):
    return f'{name}{{pod="{pod}",instance="{instance}"}}'


A = {"pod": "a", "instance": "10.0.0.1:9464"}
case(
    STORE,
    "one of two replicas does not reach it",
    {up(): gauge((1, "10m"), (0, "5m"), (1, "5m")), up("b", "10.0.0.2:9464"): gauge((1, "20m"))},
    fires="10m30s",
    ends="15m",
    severity="critical",
    summary="a does not reach its store",
    labels=A,
)
case(
    STORE,
    "a replica without a pod's name",
    {'antigravity_proxy_store_up{instance="10.0.0.1:9464"}': gauge((0, "20m"))},
    fires="30s",
    severity="critical",
    summary="10.0.0.1:9464 does not reach its store",
    labels={"instance": "10.0.0.1:9464"},
)
miss(
    STORE,
    "a fail-over",
    {up(): gauge((1, "10m"), (0, "20s"), (1, "10m"), step=10)},
    until="20m",
    step=10,
)

STORE_SLOW = "AntigravityProxyStoreSlow"


def store_calls(le, script="admit"):
    return f'antigravity_proxy_store_call_duration_seconds_bucket{{pod="a",script="{script}",le="{le}"}}'


case(
    STORE_SLOW,
    "a twentieth of the admissions takes up to a quarter of a second",
    {
        store_calls("0.01"): counter((100, "10m"), (95, "20m"), (100, "20m"), step=60),
        store_calls("0.05"): counter((100, "10m"), (95, "20m"), (100, "20m"), step=60),
        store_calls("0.25"): counter((100, "50m"), step=60),
        store_calls("+Inf"): counter((100, "50m"), step=60),
    },
    fires="17m",
    ends="34m",
    severity="warning",
    summary="An admission of gw takes up to 210ms",
    last="An admission of gw takes up to 150ms",
    step=60,
)
miss(
    STORE_SLOW,
    "one of two hundred does",
    {
        store_calls("0.01"): counter((199, "50m"), step=60),
        store_calls("0.05"): counter((199, "50m"), step=60),
        store_calls("0.25"): counter((200, "50m"), step=60),
        store_calls("+Inf"): counter((200, "50m"), step=60),
    },
    until="50m",
    step=60,
)
miss(
    STORE_SLOW,
    "a list takes long",
    {
        store_calls("0.01", "list_accounts"): counter((0, "50m")),
        store_calls("0.25", "list_accounts"): counter((10, "50m")),
        store_calls("+Inf", "list_accounts"): counter((10, "50m")),
    },
    until="50m",
)

STORE_ERRORS = "AntigravityProxyStoreErrors"


def calls(name, script="settle", pod="a"):
    return f'antigravity_proxy_store_{name}_total{{pod="{pod}",script="{script}"}}'


REACHED = 'antigravity_proxy_store_up{pod="a"}'
REACHED_BY_B = 'antigravity_proxy_store_up{pod="b"}'
case(
    STORE_ERRORS,
    "its memory is full, so that it is read and not written",
    {
        calls("calls"): counter((60, "1h")),
        calls("errors"): counter((0, "10m"), (60, "20m"), (0, "30m")),
        calls("calls", "list_accounts"): counter((60, "1h")),
        calls("errors", "list_accounts"): counter((0, "1h")),
        REACHED: gauge((1, "10m"), *[(0, "2m"), (1, "30s")] * 8, (1, "30m")),
    },
    fires="20m30s",
    ends="35m",
    severity="warning",
    summary="The store refuses 100% of the calls of settle",
    last="The store refuses 10% of the calls of settle",
    description="It answers gw, but with errors; perhaps its memory is full or its access rules changed.",
    labels={"script": "settle"},
)
miss(
    STORE_ERRORS,
    "one of two replicas does not reach it",
    {
        calls("calls"): counter((60, "1h")),
        calls("errors"): counter((0, "10m"), (60, "20m"), (0, "30m")),
        REACHED: gauge((1, "10m"), (0, "20m"), (1, "30m")),
        calls("calls", pod="b"): counter((60, "1h")),
        calls("errors", pod="b"): counter((0, "1h")),
        REACHED_BY_B: gauge((1, "1h")),
    },
    until="1h",
)
miss(
    STORE_ERRORS,
    "fail-overs of a few seconds",
    {
        calls("calls"): counter((60, "1h")),
        calls("errors"): counter((0, "10m"), (20, "30s"), (0, "20m"), (20, "30s"), (0, "29m")),
        REACHED: gauge((1, "1h")),
    },
    until="1h",
)
miss(
    STORE_ERRORS,
    "one of two hundred calls fails",
    {
        calls("calls"): counter((200, "1h"), step=60),
        calls("errors"): counter((1, "1h"), step=60),
        REACHED: gauge((1, "1h"), step=60),
    },
    until="1h",
    step=60,
)

DROPPED = "AntigravityProxySettlementsDropped"
case(
    DROPPED,
    "its queue overflows",
    {up(name="antigravity_proxy_settlements_dropped_total"): counter((0, "30m"), (4, "1m"), (0, "30m"))},
    fires="30m30s",
    ends="41m",
    severity="warning",
    summary="a gave up what requests showed about their accounts",
    labels=A,
)
miss(
    DROPPED,
    "it did, long ago",
    {up(name="antigravity_proxy_settlements_dropped_total"): gauge((5000, "1h"))},
    until="1h",
)

REJECTED = "AntigravityProxySettingsRejected"
case(
    REJECTED,
    "another version wrote them",
    {up(name="antigravity_proxy_shared_settings_rejected"): gauge((0, "10m"), (1, "10m"), (0, "10m"))},
    fires="15m",
    ends="20m",
    severity="warning",
    summary="a cannot use the settings in the shared store",
    labels=A,
)
miss(
    REJECTED,
    "they are mended within five minutes",
    {up(name="antigravity_proxy_shared_settings_rejected"): gauge((0, "10m"), (1, "4m"), (0, "16m"))},
    until="30m",
)


def version(number, pod="a"):
    return f'antigravity_proxy_build_info{{pod="{pod}",version="{number}"}}'


NO_METRICS = "AntigravityProxyNoMetrics"
case(
    NO_METRICS,
    "the last replica goes",
    {version("1"): gauge((1, "20m"), (None, "20m"), (1, "10m"))},
    # A series is seen for five minutes more where, as here, nobody says that its target is gone.
    fires="30m",
    ends="40m",
    severity="critical",
    summary="Nothing is known of gw",
)
miss(
    NO_METRICS,
    "one of two replicas goes",
    {version("1"): gauge((1, "20m"), (None, "40m")), version("1", "b"): gauge((1, "1h"))},
    until="1h",
)

DOWN = "AntigravityProxyReplicaDown"
case(
    DOWN,
    "one of two replicas crashes again and again",
    {up(name="up"): gauge((1, "10m"), (0, "20m"), (1, "5m")), up("b", "10.0.0.2:9464", "up"): gauge((1, "35m"))},
    fires="15m",
    ends="30m",
    severity="warning",
    summary="a does not answer Prometheus",
    labels=A,
)
miss(DOWN, "it is started anew", {up(name="up"): gauge((1, "10m"), (0, "4m"), (1, "30m"))}, until="40m")

RESTARTS = "AntigravityProxyReplicaRestarting"
case(
    RESTARTS,
    "two restarts within a quarter of an hour",
    {up(name="process_start_time_seconds"): gauge((100, "10m"), (700, "10m"), (1300, "30m"))},
    fires="20m",
    ends="25m",
    severity="warning",
    summary="a restarted 2 times within 15 minutes",
    labels=A,
)
miss(
    RESTARTS,
    "two restarts within an hour",
    {up(name="process_start_time_seconds"): gauge((100, "10m"), (700, "20m"), (1300, "30m"))},
    until="1h",
)
miss(
    RESTARTS,
    "a rolling update",
    {
        up(name="process_start_time_seconds"): gauge((100, "10m")),
        up("b", "10.0.0.2:9464", "process_start_time_seconds"): gauge((None, "10m"), (700, "10m")),
        up("c", "10.0.0.3:9464", "process_start_time_seconds"): gauge((None, "15m"), (900, "45m")),
    },
    until="1h",
)

MIXED = "AntigravityProxyMixedVersions"
case(
    MIXED,
    "a rolling update is stuck",
    {version("1"): gauge((1, "4h")), version("2", "b"): gauge((None, "1h"), (1, "3h"))},
    fires="3h",
    severity="warning",
    summary="2 versions of gw have been running for two hours",
)
miss(
    MIXED,
    "a rolling update takes an hour",
    {version("1"): gauge((1, "2h")), version("2", "b"): gauge((None, "1h"), (1, "3h"))},
    until="4h",
)
