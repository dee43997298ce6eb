"""The OpenAPI document is valid, served, and true: what the gateway answers is what it says.

Environment: `SEED` (1), `CASES_EACH` (8), the most random cases per operation and kind, and `CASES_LEAST` (1000), how
many there must be in all.
"""

import json
import os
import pathlib
import subprocess
import sys

from conftest import PASSWORD
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

HERE = pathlib.Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "openapi.json"
# Anthropic's API is not described again, so nothing can be made from its description; streams do not end.
NOT_EXAMINED = "^/v1/messages|^/api/logs/stream|^/api/events$"
# Wrong passwords, another password, and the end of all sessions would lock out whoever examines the rest.
LOCK_OUT = ["openSession", "changePassword", "endSessions"]
# Operations that no made-up data can bring to an end: they want a code of Google's, a session, a request in flight, or the
# control socket.
NEVER_DONE = {
    "GET /oauth-callback",
    "GET /oauth/callback",
    "POST /api/auth/complete",
    "DELETE /api/session",
    "POST /api/requests/{id}/cancel",
    "GET /api/store/export",
    "POST /api/migrate",
    "POST /api/drain",
}


def test_it_is_valid():
    document = json.loads(DOCUMENT.read_text())
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_it_is_served_to_operators(console):
    assert console.call("GET", "/api/openapi.json") == (200, json.loads(DOCUMENT.read_text()))
    assert console.call("GET", "/api/openapi.json", password=None)[0] == 401


def test_sessions_are_as_described(console):
    document = json.loads(DOCUMENT.read_text())

    def fits(method, path, status, answer):
        content = document["paths"][path][method]["responses"][str(status)]["content"]["application/json"]
        OAS31Validator(content["schema"] | {"components": document["components"]}).validate(answer)
        return answer

    opened = fits("post", "/api/session", *console.call("POST", "/api/session", {"password": PASSWORD}, None))
    shown = {"password": None, "authorization": f"Bearer {opened['token']}"}
    caller = fits("get", "/api/session", *console.call("GET", "/api/session", **shown))
    assert (caller["actor"], caller["session"]["id"]) == ("session", opened["session"]["id"])
    assert fits("delete", "/api/session", *console.call("DELETE", "/api/session", **shown))["ended"] == 1
    assert console.call("GET", "/api/session", **shown)[0] == 401


def test_answers_are_as_described(console, tmp_path):
    seed, each = os.environ.get("SEED", "1"), os.environ.get("CASES_EACH", "8")
    print(f"SEED={seed} CASES_EACH={each} tells it again")
    report = tmp_path / "report.json"
    command = [
        pathlib.Path(sys.executable).with_name("schemathesis"),
        "--config-file",
        HERE / "schemathesis.toml",
        "run",
        f"--seed={seed}",
        f"--max-examples={each}",
        "--phases=examples,coverage,fuzzing",
        f"--exclude-path-regex={NOT_EXAMINED}",
        *(f"--exclude-operation-id={name}" for name in LOCK_OUT),
        # Nearly everything may stand in some bodies: what may not is hard to find.
        "--suppress-health-check=filter_too_much",
        "--continue-on-failure",
        "--warnings=off",
        "--report=json",
        f"--report-json-path={report}",
        f"--url={console.url}",
        DOCUMENT,
    ]
    run = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-4_000:]
    told = json.loads(report.read_text())
    print(f"{told['test_cases']['generated']} cases of {told['operations']['tested']} operations")
    assert (told["complete"], told["failures"], told["errors"]) == (True, [], [])
    assert told["operations"]["tested"] == told["operations"]["selected"] > 55
    assert told["test_cases"]["generated"] >= int(os.environ.get("CASES_LEAST", "1000"))
    # Refusals prove little: each operation was carried out at least once, too.
    rates = {name: sum(phase["accepted"] for phase in rate.values()) for name, rate in told["valid_rates"].items()}
    assert {name for name, accepted in rates.items() if not accepted} <= NEVER_DONE, rates
    # And none of it has done any harm.
    assert console.call("GET", "/api/status")[1]["store"]["available"] is True
