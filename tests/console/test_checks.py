"""Appendix C of the HTTP specification: what must hold at three gateways on one Redis, whichever of them is asked.

Every call goes through an nginx that gives it to the next gateway. Each test has a fleet of its own. Number 16 is
`test_reference.py`; of number 15, the Redis of the Go port is taken over by a command, see `tests/process/moving.rs`.
"""

import contextlib
import hashlib
import http.client
import itertools
import json
import pathlib
import re
import socket
import statistics
import subprocess
import threading
import time
import urllib.parse

import pytest
from conftest import FLASH, KEY, OPUS, PASSWORD
from fleet import message, until
from prometheus import program

SONNET = "claude-sonnet-4-6"
QUOTAS, GENERATION = "fetchAvailableModels", "enerateContent"
MINUTE = 60_000


class Answer:
    """One that was read to its end; `headers` by their names in lower case."""

    def __init__(self, status, headers, text):
        self.status, self.headers, self.text = status, headers, text

    def json(self):
        return json.loads(self.text)

    def ok(self):
        assert self.status == 200, f"{self.status} {self.text}"
        return self.json()

    def error(self, status):
        """What the console is told that goes wrong."""
        assert self.status == status, f"{self.status} {self.text}"
        assert self.json()["status"] == "error"
        return self.json()["error"]

    def __repr__(self):
        return f"{self.status} {self.text[:500]}"


class Client:
    """Calls the balancer: as an operator, as a client with a key, or as a stranger."""

    def __init__(self, fleet, **headers):
        self.fleet = fleet
        self.address = urllib.parse.urlsplit(fleet.url).netloc
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection = None

    def open(self, method, path, body=None, headers=None):
        """The connection's next answer, its body not yet read; `body` may be JSON or what is sent as such."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.address, timeout=60)
        headers = self.headers | (headers or {})
        if body is not None:
            headers = {"content-type": "application/json"} | headers
            body = body if isinstance(body, (str, bytes)) else json.dumps(body)
        self.connection.request(method, path, body, headers)
        self.fleet.calls += 1
        return self.connection.getresponse()

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def call(self, *arguments, **more):
        try:
            answer = self.open(*arguments, **more)
            endless = answer.getheader("content-type", "").startswith("text/event-stream")
            text = "an event stream" if endless else answer.read().decode()
        except BaseException:
            self.close()
            raise
        if answer.will_close or endless:
            self.close()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, headers, text)

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.call("POST", path, body, **more)


def operator(fleet):
    return Client(fleet, x_webui_password=PASSWORD)


def customer(fleet):
    return Client(fleet, x_api_key=KEY, anthropic_version="2023-06-01")


def quoted(text):
    return urllib.parse.quote(text, safe="")


def gateways(fleet, path=""):
    """Which gateway answered each of the calls whose path begins like this, in the order of their ends."""
    # The balancer writes its line when the answer has gone.
    log = fleet.site.folder / "access.log"
    until("every call is in the balancer's log", lambda: len(log.read_text().splitlines()) >= fleet.calls, 30)
    return [gateway for _, asked, _, gateway in fleet.site.served() if asked.startswith(path)]


def assert_spread(fleet, path=""):
    assert len(set(gateways(fleet, path))) == len(fleet.replicas)


def offer(name, fraction, reset_in_ms=None):
    return {"id": name, "display_name": name, "remaining_fraction": fraction, "reset_in_ms": reset_in_ms}


def account(name, **more):
    """One that the simulator knows."""
    usual = {"email": f"{name}@example.com", "refresh_token": f"1//{name}-refresh", "project": f"{name}-project"}
    return usual | {"tier": "standard-tier", "models": [offer(OPUS, 0.8), offer(FLASH, 0.8)]} | more


def known(fleet):
    """The simulator's accounts, as a document for import."""
    return fleet.upstream.call("GET", "/sim/accounts.json")


def imported(fleet, and_asked=True):
    """The addresses of the simulator's accounts, now in the pool; each has told its models, unless it cannot."""
    boss = operator(fleet)
    answer = boss.post("/api/accounts/import", known(fleet)).ok()
    assert answer["results"]["failed"] == []
    if and_asked:
        until("all have told", lambda: all(one["models"] for one in boss.get("/health").ok()["accounts"]), 30)
    return answer["results"]["added"]


def asked(fleet, path=QUOTAS):
    """When each account was asked, ms since the epoch, by its address."""
    times = {}
    for one in fleet.upstream.requests(path):
        times.setdefault(one["account"], []).append(one["at_ms"])
    return times


def by_email(document):
    return {one["email"]: one for one in document["accounts"]}


# C.1


VARIANTS = {
    "canonical": lambda path: path,
    "upper case": str.upper,
    "slash at the end": lambda path: path + "/",
    "doubled slash in front": lambda path: "/" + path,
    "doubled slashes": lambda path: path.replace("/", "//"),
    "encoded first letter": lambda path: re.sub(r"[a-z]", encoded, path, count=1),
    "encoded last letter": lambda path: re.sub(r"[a-z](?=[^a-z]*$)", encoded, path, count=1),
}
# Whom a route's `x-access` lets in.
FOR_ALL, FOR_KEYS = {"public"}, {"public", "apiKey", "consoleOrKey"}
REFUSED = {401, 403, 404, 405}


def encoded(letter):
    return f"%{ord(letter[0]):02x}"


def operations(document):
    """(method, path, what it is) of each route."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if "responses" in operation:
                yield method.upper(), path, operation


def is_refusal(answer):
    """Whether it is an error of one of the two families that tells nothing else."""
    if not answer.text:
        return True
    body = answer.json()
    if body.get("type") == "error":
        return set(body) <= {"type", "error", "request_id", "status"} and set(body["error"]) == {"type", "message"}
    return set(body) == {"status", "error"} and body["status"] == "error"


def filled(path, known):
    return re.sub(r"\{(\w+)\}", lambda name: quoted(known[name[1]]), path)


@pytest.mark.parametrize("who", ["a stranger", "a client's key"])
def test_no_spelling_of_a_route_shows_protected_data(fleet, who):
    """Appendix C.1: with a password set, no route, however its path is spelt, and also asked with HEAD or OPTIONS,
    tells anything protected to those without credentials, nor to a client's key, which opens the model API only."""
    canaries = [account(f"canary{number}") for number in range(3)]
    site = fleet(scenario={"accounts": canaries})
    boss = operator(site)
    assert len(imported(site)) == 3
    assert boss.post("/api/server/presets", {"name": "canary-preset", "config": {"maxRetries": 4}}).ok()
    key = boss.post("/api/keys", {"name": "canary-client"})
    assert key.status == 201, key
    presented = key.json()["secret"]
    assert customer(site).post("/v1/messages", message(OPUS, "canary-prompt", False)).status == 200
    secrets = [*(one[member] for one in canaries for member in ("email", "refresh_token", "project")), "canary",
               presented, KEY, PASSWORD, "test-secret"]  # fmt: skip

    document = boss.get("/api/openapi.json").ok()
    routes = list(operations(document))
    assert len(routes) > 60
    # It is there to be seen: else nothing would be shown by not finding it.
    for path in (
        "/api/accounts",
        "/api/accounts/export",
        "/account-limits",
        "/health",
        "/api/keys",
        "/api/server/presets",
    ):
        assert "canary" in boss.get(path).text, path

    client = Client(site) if who == "a stranger" else Client(site, x_api_key=presented)
    let_in = FOR_ALL if who == "a stranger" else FOR_KEYS
    names = {"email": "canary1@example.com", "name": "canary-preset", "id": key.json()["key"]["id"]}
    access = {}
    for method, path, operation in routes:
        access.setdefault(path, {})[method] = operation["x-access"]
    assert {"console", "redactable", "brief", "login", "control", "password"} <= {
        kind for kinds in access.values() for kind in kinds.values()
    }

    wrong, told = [], 0
    for path, kinds in access.items():
        for variant, spell in VARIANTS.items():
            for method in [*kinds, *({"GET", "HEAD", "OPTIONS"} - set(kinds))]:
                spelt = spell(filled(path, names))
                # HEAD shows what GET does; of other methods there is nothing to be let in to.
                kind = kinds.get("GET" if method == "HEAD" else method, next(iter(kinds.values())))
                answer = client.call(method, spelt, {} if method in {"POST", "PATCH", "PUT"} else None)
                told += 1
                shown = f"{who}: {method} {spelt} ({variant} of {path}, {kind}): {answer}"
                # What was sent may come back.
                everything = (answer.text + json.dumps(answer.headers)).replace(spelt, "").lower()
                if any(secret.lower() in everything for secret in secrets):
                    wrong.append(f"a secret in {shown}")
                if "set-cookie" in answer.headers or '"openapi":' in answer.text:
                    wrong.append(f"let in: {shown}")
                if kind in let_in:
                    continue
                if kind == "brief" and method in {"GET", "HEAD"} and answer.status == 200:
                    minimal = not answer.text or set(answer.json()) == {"status", "version", "authRequired", "config"}
                    if not minimal:
                        wrong.append(f"more than the minimum: {shown}")
                    continue
                # Its own credentials are in the body, and there are none.
                allowed = REFUSED | ({400} if kind == "login" and method == "POST" else set())
                if method == "OPTIONS" and answer.status == 204 and not answer.text:
                    continue
                if answer.status not in allowed or not is_refusal(answer):
                    wrong.append(f"no refusal: {shown}")
                exact = {"control": 403, "login": 400}.get(kind, 401)
                if variant == "canonical" and method in kinds and answer.status != exact:
                    wrong.append(f"not {exact}: {shown}")
    assert wrong == []
    assert told > 1000
    assert_spread(site)

    # Nor did anything happen.
    assert len(boss.get("/api/accounts").ok()["accounts"]) == 3
    assert all(one["enabled"] for one in boss.get("/api/accounts").ok()["accounts"])
    assert [one["name"] for one in boss.get("/api/keys").ok()["keys"] if one["state"] == "active"].count(
        "canary-client"
    ) == 1
    assert "canary-preset" in {one["name"] for one in boss.get("/api/server/presets").ok()["presets"]}


# C.2


def test_the_configuration_is_told_in_short_to_those_without_the_password(fleet):
    """Appendix C.2: `GET /api/config` never refuses; without the password, or with a wrong one, it says the version,
    that a password is asked for, and the two values that the console's first page needs."""
    site = fleet()
    presentations = [
        {},
        {"x-webui-password": "wrong"},
        {"authorization": "Bearer wrong"},
        {"cookie": "agp_session=agps_wrong"},
    ]
    stranger = Client(site)
    # The console's pollers go on sending an outdated password: that locks nobody out.
    for headers in presentations * 12:
        answer = stranger.get("/api/config", headers=headers)
        body = answer.ok()
        assert set(body) == {"status", "version", "authRequired", "config"}, headers
        assert body["status"] == "ok" and body["authRequired"] is True and re.match(r"\d+\.\d+\.\d+", body["version"])
        assert set(body["config"]) == {"maxAccounts", "devMode"}, headers
        assert answer.headers["cache-control"] == "no-store"
    # In the address it is none.
    assert set(stranger.get(f"/api/config?password={quoted(PASSWORD)}").ok()["config"]) == {"maxAccounts", "devMode"}
    for _ in site.replicas:
        told = operator(site).get("/api/config").ok()
        assert told["authRequired"] is True
        assert {"maxRetries", "accountSelection", "devMode", "maxAccounts"} <= set(told["config"])
        assert told["config"]["webuiPassword"] == told["config"]["apiKey"] == "********"
        assert KEY not in json.dumps(told) and PASSWORD not in json.dumps(told)
    # Nor do many wrong ones, elsewhere.
    for number in range(12):
        body = stranger.get("/api/config", headers={"x-webui-password": f"wrong {number}"}).ok()
        assert set(body["config"]) == {"maxAccounts", "devMode"}
    for _ in site.replicas:
        assert operator(site).get("/api/accounts").status == 200
    assert_spread(site, "/api/config")
    assert_spread(site, "/api/accounts")


# C.3


@pytest.mark.parametrize("accounts", ["none", "all disabled"])
def test_without_usable_accounts_the_answer_comes_at_once(fleet, accounts):
    """Appendix C.3: a pool that has no account, or none that is enabled, says so within a second, with 503."""
    site = fleet(accounts=2)
    boss, client = operator(site), customer(site)
    if accounts != "none":
        for email in imported(site):
            boss.post(f"/api/accounts/{quoted(email)}/toggle", {"enabled": False}).ok()
    took = []
    for _ in site.replicas:
        for stream in (False, True, False):
            began = time.monotonic()
            answer = client.post("/v1/messages", message(OPUS, "hello", stream))
            took.append(time.monotonic() - began)
            assert answer.status == 503, answer
            body = answer.json()
            assert body["type"] == "error" and body["error"]["type"] == "api_error"
            assert "@" not in body["error"]["message"]
    # On a busy machine one may wait for the processor.
    assert statistics.median(took) < 1 and max(took) < 8, took
    assert_spread(site, "/v1/messages")
    assert asked(site, GENERATION) == {}


# C.4


def test_round_robin_gives_both_accounts_the_same(fleet):
    """Appendix C.4: of ten requests over three gateways, one after the other, each of two accounts serves five, since
    there is one turn for all gateways, and neither validation nor lists of models take part in it."""
    site = fleet(accounts=2, settings={"accountSelection": {"strategy": "round-robin"}})
    emails, client = imported(site), customer(site)
    for _ in range(10):
        assert client.get("/v1/models").status == 200
        assert client.post("/v1/messages", message(OPUS, "hello", False)).status == 200
    served = {email: len(times) for email, times in asked(site, GENERATION).items()}
    assert served == dict.fromkeys(emails, 5)
    assert_spread(site, "/v1/messages")


def test_the_first_requests_after_an_import_wait_for_no_other_gateway(fleet):
    """Section 10.2: any request may come to any gateway. One that comes while another gateway asks the first accounts
    for their models is served when they are known, a fraction of a second later."""
    site = fleet(accounts=3)
    imported(site, and_asked=False)
    took = []
    for _ in site.replicas:
        began = time.monotonic()
        assert customer(site).post("/v1/messages", message(OPUS, "hello", False)).status == 200
        took.append(time.monotonic() - began)
    assert max(took) < 5, took
    assert_spread(site, "/v1/messages")


# C.5


def test_a_threshold_that_was_taken_away_is_absent(fleet):
    """Appendix C.5: after `{"quotaThreshold": null}` the member is not there at all, at any gateway; the console would
    take null for 0 %."""
    site = fleet(accounts=2)
    email = imported(site)[0]
    boss, path = operator(site), f"/api/accounts/{quoted(email)}"

    def told():
        """The account, twice at each gateway."""
        for page in ("/account-limits", "/api/accounts") * 3:
            yield by_email(boss.get(page).ok())[email]

    answer = boss.call("PATCH", path, {"quotaThreshold": 0.25, "modelQuotaThresholds": {OPUS: 0.5}}).ok()
    assert answer["account"]["quotaThreshold"] == 0.25
    assert [one["quotaThreshold"] for one in told()] == [0.25] * 6
    assert all(one["modelQuotaThresholds"] == {OPUS: 0.5} for one in told())

    answer = boss.call("PATCH", path, {"quotaThreshold": None}).ok()
    assert answer["message"] == f"Account {email} thresholds updated"
    assert answer["account"] == {"email": email, "modelQuotaThresholds": {OPUS: 0.5}}
    assert not any("quotaThreshold" in one for one in told())
    assert all(one["modelQuotaThresholds"] == {OPUS: 0.5} for one in told()), "it was not asked for"
    # Of single models, and of a new map what it says of them.
    boss.call("PATCH", path, {"modelQuotaThresholdChanges": {SONNET: 0.1, "other": None}}).ok()
    assert all(one["modelQuotaThresholds"] == {OPUS: 0.5, SONNET: 0.1} for one in told())
    boss.call("PATCH", path, {"modelQuotaThresholdChanges": {OPUS: None}}).ok()
    assert all(one["modelQuotaThresholds"] == {SONNET: 0.1} for one in told())
    both = {"modelQuotaThresholds": {OPUS: 0.2, SONNET: 0.3}, "modelQuotaThresholdChanges": {SONNET: None}}
    assert boss.call("PATCH", path, both).ok()["account"]["modelQuotaThresholds"] == {OPUS: 0.2}
    boss.call("PATCH", path, {"modelQuotaThresholds": None}).ok()
    assert all(one["modelQuotaThresholds"] == {} for one in told())
    for page in ("/account-limits", "/api/accounts"):
        assert_spread(site, page)


# C.6


MALFORMED = ["{", '{"a":', "nonsense", "[1,", "\x00", '{"a":1}}']


def test_malformed_bodies_get_json_of_their_family_and_credentials_come_first(fleet):
    """Appendix C.6: what is no JSON is answered with JSON, in the shape of the model API below `/v1` and of the
    console's elsewhere; who shows no credentials is told that, whatever his body is."""
    site = fleet()
    boss, client, stranger = operator(site), customer(site), Client(site)
    taken = [
        (method, path, operation["x-access"])
        for method, path, operation in operations(boss.get("/api/openapi.json").ok())
        if "requestBody" in operation
    ]
    assert len(taken) > 15
    families = set()
    names = {"email": "dev1@example.com", "name": "one", "id": "key_0123456789abcdef"}
    for (method, path, access), body in itertools.product(taken, MALFORMED):
        spelt, shown = filled(path, names), f"{method} {path} {body!r}"
        model = path.startswith("/v1/")
        if access == "public":
            # Heartbeats of clients, whose bodies nobody reads.
            assert stranger.call(method, spelt, body).status == 200, shown
            continue
        if access == "control":
            assert stranger.call(method, spelt, body).status == 403, shown
            continue
        if access != "login":
            answer = stranger.call(method, spelt, body)
            assert answer.status == 401, f"{shown}: {answer}"
            assert is_refusal(answer) and ("type" in answer.json()) == model, f"{shown}: {answer}"
        answer = (client if model else boss).call(method, spelt, body)
        # A stored password cannot be changed where the environment has it: that needs no body.
        assert answer.status == 400 or (access == "password" and answer.status == 409), f"{shown}: {answer}"
        assert answer.headers["content-type"].split(";")[0] == "application/json", f"{shown}: {answer}"
        told = answer.json()
        if model:
            assert told["type"] == "error" and told["error"]["type"] == "invalid_request_error", f"{shown}: {answer}"
            assert told["error"]["message"], f"{shown}: {answer}"
        else:
            assert is_refusal(answer) and told["status"] == "error" and told["error"], f"{shown}: {answer}"
        families.add(model)
    assert families == {False, True}
    # JSON, but not what it should be.
    for body in ("null", "[]", "7", '"text"', '{"model": 5, "messages": []}', '{"model": "x"}'):
        told = client.post("/v1/messages", body)
        assert told.status == 400 and told.json()["error"]["type"] == "invalid_request_error", f"{body}: {told}"
    for body in ("null", "[]", "7", '"text"'):
        assert boss.post("/api/config", body).error(400), body
    assert_spread(site)


# C.7


def test_imports_take_both_shapes_and_spellings_and_name_what_fails(fleet):
    """Appendix C.7, its first half: a bare list or one within `accounts`, `refresh_token` or `refreshToken`, `api_key`
    or `apiKey`; entries that cannot be used are named with their reason and spoil no others."""
    site = fleet()
    boss = operator(site)
    entries = [
        {"email": " First@Example.com ", "refresh_token": "1//first|own|managed"},
        {"email": "second@example.com", "refreshToken": "1//second"},
        {"email": "third@example.com", "api_key": "ya29.third"},
        {"email": "fourth@example.com", "apiKey": "ya29.fourth", "refresh_token": "1//fourth"},
        {"refresh_token": "1//nobody"},
        {"email": "empty@example.com"},
        5,
        None,
        {"email": 7, "refresh_token": "1//seven"},
        {"email": "typed@example.com", "refresh_token": 7},
    ]
    emails = [f"{name}@example.com" for name in ("first", "second", "third", "fourth")]
    answer = boss.post("/api/accounts/import", entries).ok()
    assert answer["status"] == "ok" and answer["message"] == "Imported 4 accounts"
    assert answer["results"]["added"] == emails and answer["results"]["updated"] == []
    failed = answer["results"]["failed"]
    assert len(failed) == 6 and all(one["email"] and one["reason"] for one in failed)
    assert failed[0] == {"email": "unknown", "reason": "Missing email"}
    assert failed[1] == {"email": "empty@example.com", "reason": "Missing refresh_token or api_key"}
    assert all(one["reason"].startswith("Invalid entry") for one in failed[2:4])
    assert not any("1//" in one["reason"] for one in failed)

    # In the other shape, by whatever gateway is next, they are known.
    again = boss.post("/api/accounts/import", {"accounts": entries[:6]}).ok()
    assert again["results"]["added"] == [] and again["results"]["updated"] == emails
    assert len(again["results"]["failed"]) == 2
    assert boss.post("/api/accounts/import", [None, 5]).ok()["message"] == "Imported 0 accounts"
    for body in ([], {}, {"accounts": []}, {"accounts": {}}):
        assert boss.post("/api/accounts/import", body).error(400) == "accounts must be a non-empty array", body

    for _ in site.replicas:
        export = boss.get("/api/accounts/export")
        assert export.headers["cache-control"] == "no-store"
        listed = {one["email"]: one for one in export.ok()}
        assert list(listed) == emails
        assert listed["first@example.com"]["refresh_token"] == "1//first|own|managed"
        assert listed["third@example.com"] == {"email": "third@example.com", "api_key": "ya29.third"}
        # With both credentials it keeps both.
        assert listed["fourth@example.com"]["api_key"] == "ya29.fourth"
        assert listed["fourth@example.com"]["refresh_token"].split("|")[0] == "1//fourth"
        accounts = by_email(boss.get("/api/accounts").ok())
        sources = [accounts[email]["source"] for email in emails]
        assert sources == ["oauth", "oauth", "manual", "oauth"]
    assert_spread(site, "/api/accounts")


def reference_accounts():
    """As the reference writes them after long use: times with fractions, others as texts. They are disabled, so that
    nobody asks the upstream for news of them."""
    return {
        "accounts": [
            {
                "email": "first@example.com", "source": "oauth", "enabled": False, "dbPath": None,
                "refreshToken": "1//first|own-project|managed-project", "projectId": "own-project",
                "addedAt": "2025-11-27T08:09:10.111Z", "isInvalid": False, "invalidReason": None, "verifyUrl": None,
                "modelRateLimits": {
                    SONNET: {"isRateLimited": True, "resetTime": 4_102_444_800_000.375, "actualResetMs": 1.25},
                    FLASH: {"isRateLimited": False, "resetTime": None, "actualResetMs": 7000.5},
                },
                "lastUsed": 1_764_230_950_222.75,
                "subscription": {
                    "tier": "pro", "projectId": "managed-project", "detectedAt": "2025-11-27T09:00:00.000Z",
                },
                "quota": {
                    "models": {
                        SONNET: {"remainingFraction": None, "resetTime": None},
                        FLASH: {"remainingFraction": 0.62, "resetTime": "2025-11-28T00:00:00Z"},
                    },
                    "lastChecked": 1_764_230_000_000.5,
                },
                "quotaThreshold": 0.15, "modelQuotaThresholds": {SONNET: 0.3},
            },
            {
                "email": "second@example.com", "source": "manual", "enabled": False, "apiKey": "ya29.second",
                "projectId": "second-project", "lastUsed": "2025-11-27T08:09:10Z", "modelRateLimits": {},
                "subscription": {"tier": "ultra", "projectId": "second-project", "detectedAt": 1_764_230_000_000.25},
                "quota": {"models": {}, "lastChecked": None},
            },
        ],
        "settings": {"maxRetries": 5},
        "activeIndex": 1,
    }  # fmt: skip


def credentials(one):
    """Whose they are, without the projects, which may be found out anew."""
    return {name: one.get(name, "").split("|")[0] for name in ("email", "refresh_token", "api_key")}


def test_what_was_exported_is_imported_without_loss(fleet):
    """Appendix C.7, its second half: an export goes into another pool, and that pool's export is the same; so does what
    the console downloads, which has the credentials only."""
    first, second = fleet(), fleet()
    operator(first).post("/api/accounts/import", reference_accounts()).ok()
    full = operator(first).get("/api/accounts/export?full=true").ok()
    operator(second).post("/api/accounts/import", full).ok()
    for _ in second.replicas:
        assert operator(second).get("/api/accounts/export?full=true").ok() == full
    short = operator(first).get("/api/accounts/export").ok()
    assert isinstance(short, list) and len(short) == 2
    assert operator(second).get("/api/accounts/export").ok() == short
    for email in by_email(full):
        operator(second).call("DELETE", f"/api/accounts/{quoted(email)}").ok()
    # Nobody asks for them while they come and go.
    assert operator(second).get("/api/accounts/export").ok() == []
    answer = operator(second).post("/api/accounts/import", short).ok()
    assert answer["results"]["added"] == [one["email"] for one in short]
    again = operator(second).get("/api/accounts/export").ok()
    assert [credentials(one) for one in again] == [credentials(one) for one in short]
    assert_spread(second, "/api/accounts/export")


# C.8


SCOPES = ["cloud-platform", "userinfo.email", "userinfo.profile", "cclog", "experimentsandconfigs"]


def begun(boss, query=""):
    answer = boss.get(f"/api/auth/url{query}").ok()
    assert answer["status"] == "ok"
    return answer


def consent(url, email=None):
    """Where a browser is sent back to when its user agrees, as the account of this address."""
    parts = urllib.parse.urlsplit(url)
    query = parts.query + (f"&login_hint={quoted(email)}" if email else "")
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", f"{parts.path}?{query}")
        answer = connection.getresponse()
        assert answer.status == 302, answer.read()
        return answer.getheader("location")


def state_of(boss, sign_in):
    return boss.get(f"/api/auth/status?state={sign_in['state']}").ok()["state"]


def completed(boss, sign_in, pasted):
    return boss.post("/api/auth/complete", {"state": sign_in["state"], "callbackInput": pasted})


def test_the_address_of_a_sign_in_has_exactly_these_parameters(fleet):
    """Appendix C.8: the parameters of the authorization request, in their order, with a challenge of PKCE and a random
    state; `login_hint` comes on top where an account is signed in anew."""
    site = fleet()
    boss = operator(site)
    states = set()
    for query, more in [("", []), ("?email=dev1%40example.com", [("login_hint", "dev1@example.com")])] * 2:
        sign_in = begun(boss, query)
        assert sign_in["url"].split("?")[0] == site.upstream.url + "/auth"
        pairs = urllib.parse.parse_qsl(urllib.parse.urlsplit(sign_in["url"]).query, strict_parsing=True)
        challenge = dict(pairs)["code_challenge"]
        assert pairs == [
            ("client_id", "test-client"),
            ("redirect_uri", "http://localhost:51121/oauth-callback"),
            ("response_type", "code"),
            ("scope", " ".join(f"https://www.googleapis.com/auth/{scope}" for scope in SCOPES)),
            ("access_type", "offline"),
            ("prompt", "consent"),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256"),
            ("state", sign_in["state"]),
            *more,
        ]
        assert re.fullmatch(r"[0-9a-f]{32}", sign_in["state"]) and re.fullmatch(r"[\w-]{43}", challenge)
        states |= {sign_in["state"], challenge}
    assert len(states) == 8, "each is new"
    assert_spread(site, "/api/auth/url")


def test_a_sign_in_ends_by_its_own_state_only_and_once_at_any_gateway(fleet):
    """Appendix C.8: whoever comes with a wrong state, or with an error without a known one, ends no sign-in; it is
    completed at other gateways than it was begun at, by pasting or by the browser; a second time is told that it is not
    found."""
    site = fleet(accounts=3)
    boss, browser = operator(site), Client(site)
    for number, way in enumerate(["paste", "bare code", "browser"], 1):
        email = f"dev{number}@example.com"
        sign_in = begun(boss)
        back = consent(sign_in["url"], email)
        target = urllib.parse.urlsplit(back)
        code = urllib.parse.parse_qs(target.query)["code"][0]
        wrong = "0" * 32
        for query in (
            f"error=access_denied&state={wrong}",
            f"code={code}&state={wrong}",
            "error=<script>",
            f"code={code}",
        ):
            assert browser.get(f"/oauth-callback?{query}").status == 400
        answer = completed(boss, sign_in, f"http://localhost:51121/oauth-callback?code={code}&state={wrong}")
        assert answer.error(400).startswith("State mismatch")
        assert completed(boss, sign_in, "short").status == 400
        assert completed(boss, {"state": wrong}, code).error(400).startswith("OAuth flow not found")
        assert {state_of(boss, sign_in) for _ in site.replicas} == {"pending"}

        if way == "browser":
            page = browser.get(f"/oauth-callback?{target.query}")
            assert page.status == 200 and email in page.text
        else:
            answer = completed(boss, sign_in, back if way == "paste" else code).ok()
            assert answer["email"] == email and answer["message"] == f"Account {email} added successfully"
        began = gateways(site, "/api/auth/url")[-1]
        ended = gateways(site, "/oauth-callback" if way == "browser" else "/api/auth/complete")[-1]
        assert began != ended, way
        assert {state_of(boss, sign_in) for _ in site.replicas} == {"completed"}
        for pasted in (back, code, code):
            assert completed(boss, sign_in, pasted).error(400).startswith("OAuth flow not found")
        assert browser.get(f"/oauth-callback?{target.query}").status == 400
    assert len(boss.get("/api/accounts").ok()["accounts"]) == 3


# A sign-in's record is a text whose fields are parted by byte 31; the third and the fourth are when it began and ends.
AGE = """
local text = redis.call('HGET', KEYS[1], ARGV[1])
local fields = {}
for field in (text .. '\\31'):gmatch('([^\\31]*)\\31') do fields[#fields + 1] = field end
for _, at in ipairs({ 3, 4 }) do fields[at] = string.format('%.0f', tonumber(fields[at]) - tonumber(ARGV[2])) end
redis.call('PEXPIRE', KEYS[1], redis.call('PTTL', KEYS[1]) - tonumber(ARGV[2]))
return redis.call('HSET', KEYS[1], ARGV[1], table.concat(fields, '\\31'))
"""


def redis_cli(site, *arguments):
    command = [program("redis-cli"), "-e", "-s", site.redis.socket, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("minutes", [9, 11])
def test_a_sign_in_waits_nine_minutes_and_not_eleven(fleet, minutes):
    """Appendix C.8: one that was begun nine minutes ago is still completed. Its record in Redis is made that old."""
    site = fleet(accounts=1)
    boss = operator(site)
    sign_in = begun(boss)
    assert 9 * MINUTE < sign_in["expiresAt"] - time.time() * 1000 <= 10 * MINUTE
    [key] = [key for key in redis_cli(site, "--scan", "--pattern", "agp:*signins").splitlines() if key]
    assert redis_cli(site, "EVAL", AGE, 1, key, sign_in["state"], minutes * MINUTE) == "0"
    answer = completed(boss, sign_in, consent(sign_in["url"]))
    if minutes == 9:
        assert answer.ok()["email"] == "dev1@example.com"
    else:
        assert answer.error(400).startswith("OAuth flow not found")
    assert len({gateways(site, "/api/auth/url")[-1], gateways(site, "/api/auth/complete")[-1]}) == 2


# C.9


class Lines:
    """The log as an event stream: the ids and the lines that came, and comments."""

    def __init__(self, client, query="", last=None):
        self.client, self.comments, self.seen = client, [], []
        self.began = time.monotonic()
        headers = {"last-event-id": last} if last else {}
        self.answer = client.open("GET", f"/api/logs/stream{query}", headers=headers)
        assert self.answer.status == 200
        assert self.answer.getheader("content-type").startswith("text/event-stream")

    def read(self):
        """The next frame; false at the end."""
        frame = []
        while True:
            line = self.answer.readline().decode()
            if not line:
                return False
            if line == "\n":
                break
            frame.append(line.rstrip("\n"))
        fields = [line.partition(":")[::2] for line in frame]
        values = {name: value.strip() for name, value in fields if name}
        self.comments += [(time.monotonic() - self.began, value) for name, value in fields if not name]
        if "data" in values:
            line = json.loads(values["data"])
            assert "gap" not in line, line
            assert {"timestamp", "level", "message"} <= set(line) and line["id"] == values["id"]
            self.seen.append((values["id"], line))
        return True

    def read_until(self, holds):
        """Reads on; comments come in any case, so that it ends."""
        end = time.monotonic() + 40
        while not holds(self):
            assert self.read(), "it ended"
            assert time.monotonic() < end, f"not within 40 s; the last line is {self.seen[-1:]}"

    def close(self):
        self.client.close()


def told_of(lines):
    """The requests that lines are about."""
    return {line.get("requestId") for _, line in lines.seen}


def test_a_log_stream_shows_that_it_is_alive_within_15_seconds(fleet):
    """Appendix C.9: headers and a first comment at once, a comment every 15 seconds at the latest while there is
    nothing to tell."""
    site = fleet()
    lines = Lines(operator(site), "?q=what-nobody-logs")
    lines.read_until(lambda lines: lines.comments)
    assert lines.comments[0][0] < 5, "with its headers"
    # Those that come with its place in the log are no sign of life.
    lines.read_until(lambda lines: lines.comments[-1][0] > 5)
    times = [at for at, _ in lines.comments]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= 15
    assert lines.seen == []
    lines.close()


def test_a_log_stream_goes_on_at_another_gateway_without_gap_or_duplicate(fleet):
    """Appendix C.9: with `Last-Event-ID` it is resumed right behind that line wherever the balancer leads."""
    site = fleet(accounts=2, DEV_MODE="false")
    imported(site)
    client, boss = customer(site), operator(site)

    def work(count):
        answers = [client.post("/v1/messages", message(OPUS, "hello", False)) for _ in range(count)]
        assert {answer.status for answer in answers} == {200}
        return {answer.headers["request-id"] for answer in answers}

    seen, requests, last = [], work(1), None
    for turn in range(6):
        lines = Lines(operator(site), "" if last else "?history=true", last)
        requests |= work(2)
        # Some are left in the connection when it is closed, others come while there is none.
        lines.read_until(lambda lines, least=1 + turn % 2: len(lines.seen) >= least)
        lines.close()
        seen += lines.seen
        last = seen[-1][0]
        requests |= work(1)
    lines = Lines(operator(site), "", last)
    before = {line.get("requestId") for _, line in seen}
    lines.read_until(lambda lines: requests <= before | told_of(lines))
    lines.close()
    seen += lines.seen
    ids = [identity for identity, _ in seen]
    assert len(ids) == len(set(ids))
    served = [line["requestId"] for _, line in seen if line["level"] == "SUCCESS" and line.get("requestId") in requests]
    assert sorted(served) == sorted(requests)
    # As the log has them.
    page = boss.get(f"/api/logs?since={ids[0]}&limit=1000").ok()
    assert page["gap"] is False
    kept = [line["id"] for line in page["logs"]]
    assert ids[1:] == kept[: kept.index(ids[-1]) + 1]
    hops = gateways(site, "/api/logs/stream")
    assert len(set(hops)) == 3 or sum(one != other for one, other in itertools.pairwise(hops)) >= 2, hops


def test_logs_have_no_secrets_of_requests(fleet):
    """Appendix C.9: passwords in an address, and credentials in headers, are neither in the shared log nor in what a
    gateway writes, also in developer mode."""
    site = fleet(accounts=1)
    imported(site)
    boss, stranger = operator(site), Client(site)
    secrets = {
        name: f"canary-{hashlib.sha256(name.encode()).hexdigest()[:20]}"
        for name in ("query", "bearer", "key", "prompt")
    }
    requests = set()
    for path in ("/api/accounts", "/account-limits", "/health", "/api/logs", "/nowhere", "/v1/models", "/api/nowhere"):
        for headers in (
            {}, {"authorization": f"Bearer {secrets['bearer']}"}, {"x-api-key": secrets["key"]},
            {"authorization": f"bearer {PASSWORD}"}, {"x-api-key": KEY}, {"x-webui-password": PASSWORD},
        ):  # fmt: skip
            for query in (f"?password={secrets['query']}", f"?x=1&password={quoted(PASSWORD)}"):
                answer = stranger.get(path + query, headers=headers)
                requests.add(answer.headers["request-id"])
                assert secrets["query"] not in answer.text and "correct" not in answer.text
                if path.startswith(("/api/", "/account", "/health")) and not headers:
                    assert answer.status == 401, "in an address it opens the stream only"
    asked = customer(site).post("/v1/messages", message(OPUS, secrets["prompt"], False))
    assert asked.status == 200
    requests.add(asked.headers["request-id"])
    # Where it is taken in the address.
    stream = Lines(stranger, f"?history=true&limit=1000&password={quoted(PASSWORD)}")
    requests.add(stream.answer.getheader("request-id"))
    stream.close()
    refused = stranger.get(f"/api/logs/stream?password={secrets['query']}")
    assert refused.status == 401
    requests.add(refused.headers["request-id"])

    def found():
        """They are logged at all: those of strangers, of the client and of the stream."""
        pages = boss.get("/api/logs?limit=1000").ok()["logs"]
        return {line.get("requestId") for line in pages} >= requests

    until("requests are logged", found, 30)
    lines = Lines(operator(site), "?history=true&limit=1000")
    lines.read_until(lambda lines: told_of(lines) >= requests)
    lines.close()
    told = "\n".join(json.dumps(line) for _, line in lines.seen) + boss.get("/api/logs?limit=1000").text
    written = "".join(pathlib.Path(replica.log.name).read_text() for replica in site.replicas)
    assert "/account-limits" in told and "/account-limits" in written
    hidden = [
        *secrets.values(),
        PASSWORD,
        quoted(PASSWORD),
        PASSWORD.replace(" ", "+"),
        "1//sim-refresh",
        "test-secret",
    ]
    for place in (told, written):
        for secret in hidden:
            assert secret not in place, secret
        assert not re.search(rf"(?<![\w-]){KEY}(?![\w-])", place)
    assert_spread(site)


# C.10


def presets(answer):
    """By name, in their order."""
    return {one["name"]: one for one in answer.ok()["presets"]}


def test_presets_live_and_built_in_ones_stay(fleet):
    """Appendix C.10: on a fresh store a preset is made, edited, renamed and deleted, each step by another gateway; what
    is built in can be neither overwritten nor edited nor deleted."""
    site = fleet()
    boss, path = operator(site), "/api/server/presets"

    def at_each():
        told = [presets(boss.get(path)) for _ in site.replicas]
        assert all(one == told[0] for one in told)
        return told[0]

    built_in = at_each()
    assert list(built_in)[:3] == ["Default (3-5 Accounts)", "Many Accounts (10+)", "Conservative"]
    assert all(one["builtIn"] is True and one["config"] for one in built_in.values())
    assert all(built_in[name]["descriptionKey"] for name in list(built_in)[:3])
    created = boss.post(path, {"name": " mine ", "config": {"maxRetries": 4, "nonsense": 1}, "description": "first"})
    assert created.ok()["message"] == 'Server preset "mine" saved'
    mine = at_each()["mine"]
    assert mine["config"] == {"maxRetries": 4} and mine["description"] == "first" and not mine.get("builtIn")
    assert list(at_each()) == [*built_in, "mine"]

    # The first one is as good as any later one: it can be edited at once.
    change = {"config": {"retryBaseMs": 500, "accountSelection": {"strategy": "sticky"}}, "description": ""}
    edited = boss.call("PATCH", f"{path}/mine", change)
    assert edited.ok()["message"] == 'Server preset "mine" updated'
    mine = at_each()["mine"]
    assert mine["config"] == {"maxRetries": 4, "retryBaseMs": 500, "accountSelection": {"strategy": "sticky"}}
    assert "description" not in mine
    renamed = boss.call("PATCH", f"{path}/mine", {"name": "a b/c%"})
    assert renamed.ok()["message"] == 'Server preset "mine" updated'
    assert list(at_each()) == [*built_in, "a b/c%"]
    boss.post(path, {"name": "other", "config": {"maxRetries": 2}}).ok()

    for method, name, body, error in [
        ("POST", "", {"config": {"maxRetries": 4}}, "Preset name is required"),
        ("POST", "", {"name": " ", "config": {"maxRetries": 4}}, "Preset name is required"),
        ("POST", "", {"name": "x" * 51, "config": {"maxRetries": 4}}, "Preset name must be 50 characters or fewer"),
        ("POST", "", {"name": "x"}, "Config object is required"),
        ("POST", "", {"name": "x", "config": []}, "Config object is required"),
        ("POST", "", {"name": "x", "config": {"nonsense": 1}}, "No valid config fields provided"),
        (
            "POST",
            "",
            {"name": "Conservative", "config": {"maxRetries": 4}},
            'Cannot overwrite built-in preset "Conservative"',
        ),
        ("PATCH", "Conservative", {"description": "x"}, 'Cannot edit built-in preset "Conservative"'),
        ("DELETE", "Conservative", None, 'Cannot delete built-in preset "Conservative"'),
        ("PATCH", "other", {}, "No updates provided"),
        ("PATCH", "other", {"name": "Conservative"}, 'Cannot use built-in preset name "Conservative"'),
        ("PATCH", "other", {"name": "a b/c%"}, 'A preset named "a b/c%" already exists'),
        ("PATCH", "nothing", {"description": "x"}, 'Preset "nothing" not found'),
    ]:
        answer = boss.call(method, f"{path}/{quoted(name)}" if name else path, body)
        assert answer.error(400) == error, f"{method} {name} {body}"
    for name in built_in:
        assert boss.call("DELETE", f"{path}/{quoted(name)}").status == 400
        assert boss.call("PATCH", f"{path}/{quoted(name)}", {"config": {"maxRetries": 9}}).status == 400
    assert {name: at_each()[name] for name in built_in} == built_in

    assert boss.call("DELETE", f"{path}/nothing").ok()
    for name in ("a b/c%", "other"):
        answer = boss.call("DELETE", f"{path}/{quoted(name)}")
        assert answer.ok()["message"] == f'Server preset "{name}" deleted'
    assert at_each() == built_in
    assert_spread(site, path)


def test_presets_of_claude_code_live_and_come_back(fleet):
    """Appendix C.10: those of Claude Code, too, at every gateway; the built-in ones are ordinary entries there."""
    site = fleet()
    boss, path = operator(site), "/api/claude/presets"
    assert {"Claude Thinking", "Gemini 1M"} <= set(presets(boss.get(path)))
    for model in ("one", "two"):
        saved = boss.post(path, {"name": "mine", "config": {"ANTHROPIC_MODEL": model}})
        assert saved.ok()["message"] == 'Preset "mine" saved'
        for _ in site.replicas:
            assert presets(boss.get(path))["mine"]["config"] == {"ANTHROPIC_MODEL": model}
    assert boss.post(path, {"config": {}}).error(400) == "Preset name is required"
    assert boss.post(path, {"name": "x"}).error(400) == "Config object is required"
    for name in ("mine", "Gemini 1M", "mine"):
        assert boss.call("DELETE", f"{path}/{quoted(name)}").ok()["message"] == f'Preset "{name}" deleted'
        assert all(name not in presets(boss.get(path)) for _ in site.replicas)
    assert_spread(site, path)


# C.11


def test_ten_consoles_cost_one_call_per_account_and_time(fleet):
    """Appendix C.11: however many pages poll `/account-limits` at however many gateways, each account is asked for its
    quotas at most once within `quotaSnapshotTtlMs`."""
    ttl = 6000
    site = fleet(accounts=4, settings={"quotaSnapshotTtlMs": ttl})
    emails = imported(site)
    over, polls = threading.Event(), []

    def page():
        client = operator(site)
        while not over.wait(0.1):
            answer = client.get("/account-limits?includeHistory=true")
            polls.append((answer.status, len(answer.json()["accounts"])))

    pages = [threading.Thread(target=page) for _ in range(10)]
    for one in pages:
        one.start()
    try:
        # Seen by the polls: nobody else asks within five minutes.
        until("all were asked again, twice", lambda: min(len(asked(site).get(email, [])) for email in emails) >= 3, 60)
    finally:
        over.set()
        for one in pages:
            one.join(60)
    assert set(polls) == {(200, 4)} and len(polls) > 100
    for email, times in asked(site).items():
        apart = [later - earlier for earlier, later in itertools.pairwise(times)]
        # What is known is as old as its answer, which came a moment after the question.
        assert min(apart) >= ttl - 50, f"{email}: {times}"
    assert_spread(site, "/account-limits")


# C.12


def refused(replica):
    parts = urllib.parse.urlsplit(replica.url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=10).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_gateway_that_is_ended_finishes_its_stream(fleet):
    """Appendix C.12: after SIGTERM a gateway takes no connections, sends the stream that it is in to its end, and exits
    with 0; those of the other gateways are none of its business."""
    site = fleet(accounts=3)
    imported(site)
    delivery = {"mode": "paced", "interval_ms": 50, "chunk_chars": 8}
    site.upstream.call("POST", "/sim/faults", {"when": {"text": "200 words"}, "then": {"delivery": delivery}})
    clients = [customer(site) for _ in site.replicas]
    streams = [client.open("POST", "/v1/messages", message(OPUS, "write 200 words", True)) for client in clients]
    texts = []
    for stream in streams:
        assert stream.status == 200
        text = ""
        while "text_delta" not in text:
            text += stream.readline().decode()
        texts.append(text)
    # Each has one of them, so whichever is ended is in the middle of it.
    boss = operator(site)

    def spread():
        return sorted(one["requests"] for one in boss.get("/api/requests/live").ok()["replicas"]) == [1, 1, 1]

    until("each is seen in it", spread, 5)
    ended = site.replicas[1]
    ended.child.terminate()
    until("connections are refused", lambda: refused(ended), 30)
    assert ended.child.poll() is None, "its stream is still open"
    for at, stream in enumerate(streams):
        texts[at] += stream.read().decode()
        clients[at].close()
    for text in texts:
        assert text.count("event: message_stop") == 1 and "event: error" not in text, text[-500:]
    assert ended.child.wait(30) == 0
    assert len(set(gateways(site, "/v1/messages"))) == 3
    # Everything was billed as it should be, and the others serve on.
    until("all are over", lambda: all(one["outcome"] != "open" for one in site.upstream.requests(GENERATION)), 30)
    assert [one["outcome"] for one in site.upstream.requests(GENERATION)] == ["complete"] * 3
    assert site.replicas[0].ask(OPUS) == site.replicas[2].ask(OPUS) == 200


# C.13


BAN = "Gemini HAS BEEN DISABLED in this account for Violation of Terms of Service. Contact us."
BANS = {
    "the simulator's": {"fault": "banned"},
    "in other letters": {
        "status": 403,
        "body": {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": BAN}},
    },
    "as text": {"status": 403, "body_text": f"<html>{BAN}</html>"},
}
FORBIDDEN = {"status": 403, "body": {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "No."}}}


@pytest.mark.parametrize("ban", BANS)
def test_an_account_whose_models_are_refused_with_the_ban_is_banned_and_left_alone(fleet, ban):
    """Appendix C.13: a 403 of the list of models that says that the account was disabled for a violation of the terms
    makes it `banned` wherever it is shown, and no gateway asks for it again; another 403 does not."""
    site = fleet(scenario={
        "accounts": [account("good"), account("banned"), account("other")],
        "rules": [
            {"when": {"path": QUOTAS, "account": "banned@example.com"}, "then": BANS[ban]},
            {"when": {"path": QUOTAS, "account": "other@example.com"}, "then": FORBIDDEN},
        ],
    }, settings={"quotaSnapshotTtlMs": 0})  # fmt: skip
    imported(site, and_asked=False)
    boss = operator(site)

    def standing(page):
        return {email.split("@")[0]: one["status"] for email, one in by_email(boss.get(page).ok()).items()}

    until("the ban is known", lambda: standing("/health")["banned"] == "banned", 30)
    for page in ("/account-limits", "/health") * 3:
        told = standing(page)
        assert told["banned"] == "banned" and told["good"] == "ok" and told["other"] != "banned", f"{page}: {told}"
    one = by_email(boss.get("/account-limits").ok())["banned@example.com"]
    assert one["isInvalid"] is True and "terms of service" in one["error"].lower()
    assert one["verifyUrl"] is None

    # The others are polled on, more than once, and answer requests.
    banned_at = max(asked(site, "")["banned@example.com"])
    before = len(asked(site)["good@example.com"])

    def polled():
        boss.get("/account-limits?refresh=true").ok()
        boss.get("/health?refresh=true").ok()
        return len(asked(site)["good@example.com"]) >= before + 2

    until("the good account was asked twice again", polled, 60)
    for _ in range(6):
        assert customer(site).post("/v1/messages", message(OPUS, "hello", False)).status == 200
    assert set(asked(site, GENERATION)) <= {"good@example.com", "other@example.com"}
    assert max(asked(site, "")["banned@example.com"]) == banned_at
    assert_spread(site, "/account-limits")


# C.14


LONG = "a-very-long-name-of-somebody"
GOLDEN = """\
Account Limits (DATE)
Accounts: 5 total, 3 available, 0 rate-limited, 1 invalid

Account                  Status         Last Used                Quota Reset
{rule90}
a-very-long-name-of-so   (2/3) limited  DATE                     DATE
b                        ok             never                    -
c                        invalid        never                    -
  └─ REASON
d                        error          never                    -
  └─ REASON
off                      (1/1) limited  never                    DATE

Model                         a-very-long-name-of-somebo    b                             c                             d                             off
{rule180}
claude-opus-4-6-thinking      76%                           -                             [banned]                      [error]                       0% (resetting...)
claude-sonnet-4-6             0% (wait 1h42mSS)             -                             [banned]                      [error]                       -
gemini-3-flash                0% (exhausted)                50%                           [banned]                      [error]                       -"""


def normalised(table):
    """Without what depends on when and where: dates stay as wide as they are, reasons may be worded as one likes."""
    dated = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE               ", table)
    dated = dated.replace("(DATE               )", "(DATE)")
    reasons = re.sub(r"^  └─ .+$", "  └─ REASON", dated, flags=re.MULTILINE)
    # As wide with one digit as with two.
    waits = re.sub(r"1h42m(\d)s\)", "1h42mSS)", re.sub(r"1h42m\d\ds\)", "1h42mSS) ", reasons))
    return "\n".join(line.rstrip(" ") for line in waits.split("\n"))


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def test_limits_as_a_table(fleet):
    """Appendix C.14: `format=table` is plain text of two tables, whose columns, marks and cells are those of the
    reference: used up with and without a time, past its time, unknown, missing, banned, without an answer, and names
    that are cut."""
    of = {
        LONG: {"claude-opus-4-6-thinking": {"remainingFraction": 0.755, "resetTime": stamp(3600)},
               SONNET: {"remainingFraction": 0, "resetTime": stamp(6179)}, FLASH: {"remainingFraction": 0}},
        "b": {FLASH: {"remainingFraction": 0.5}},
    }  # fmt: skip
    rules = [
        {"when": {"path": QUOTAS, "account": f"{name}@example.com"},
         "then": {"body": {"models": {model: {"quotaInfo": quota} for model, quota in models.items()}}}}
        for name, models in of.items()
    ]  # fmt: skip
    rules += [
        {"when": {"path": QUOTAS, "account": "c@example.com"}, "then": {"fault": "banned"}},
        {"when": {"path": QUOTAS, "account": "d@example.com"}, "then": {"status": 500, "body": {}}},
    ]
    site = fleet(scenario={"accounts": [account(name) for name in (LONG, "b", "c", "d")], "rules": rules})
    document = known(site)
    for one in document["accounts"]:
        if one["email"].startswith("d@"):
            # It has not answered for longer than anybody would wait.
            one["addedAt"] = "2025-01-01T00:00:00.000Z"
    past = {"remainingFraction": 0, "resetTime": "2025-11-28T00:00:00Z"}
    off = {"email": "off@example.com", "refreshToken": "1//off", "enabled": False, "source": "oauth",
           "quota": {"models": {OPUS: past}, "lastChecked": time.time() * 1000}}  # fmt: skip
    document["accounts"][0]["lastUsed"] = time.time() * 1000
    document["accounts"].append(off)
    boss = operator(site)
    assert boss.post("/api/accounts/import", document).ok()["results"]["failed"] == []
    until(
        "the ban is known",
        lambda: by_email(boss.get("/account-limits").ok())["c@example.com"]["status"] == "banned",
        30,
    )

    def answered():
        told = by_email(boss.get("/account-limits").ok())
        return all(told[f"{name}@example.com"]["snapshotAt"] for name in of)

    until("both have answered", answered, 30)
    for _ in site.replicas:
        answer = boss.get("/account-limits?format=table")
        assert answer.status == 200 and answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert not answer.text.endswith("\n")
        lines = {"rule90": "─" * 90, "rule180": "─" * (30 + 5 * 30)}
        assert normalised(answer.text) == GOLDEN.format(**lines)
    for query in ("", "?format=json", "?format=xml", "?format=TABLE"):
        assert boss.get(f"/account-limits{query}").ok()["totalAccounts"] == 5
    assert_spread(site, "/account-limits")


def test_a_quota_without_any_figure_counts_as_used_up(fleet):
    """Appendix C.14, as sections 9.3 and 1.3.2 have it: a model whose quota the upstream names without a share and a
    time (as Google's JSON leaves zeros out) has an entry whose share is unknown; the table counts it as exhausted. A
    model that is only offered, without a quota, is not listed."""
    offered = {
        "models": {
            OPUS: {"quotaInfo": {}},
            SONNET: {"displayName": "Sonnet"},
            FLASH: {"quotaInfo": {"remainingFraction": 0.5}},
        }
    }
    site = fleet(
        scenario={"accounts": [account("one")], "rules": [{"when": {"path": QUOTAS}, "then": {"body": offered}}]}
    )
    imported(site)
    boss = operator(site)
    told = boss.get("/account-limits").ok()
    assert told["models"] == [OPUS, FLASH]
    assert told["accounts"][0]["limits"][OPUS] == {"remaining": "N/A", "remainingFraction": None, "resetTime": None}
    table = boss.get("/account-limits?format=table").text
    assert re.search(rf"^{OPUS} +0% \(exhausted\) *$", table, re.MULTILINE), table
    assert re.search(r"^one +\(1/2\) limited ", table, re.MULTILINE), table


# C.15


def integers(value):
    """Whether no number that is a time has a fraction."""
    if isinstance(value, dict):
        return all(integers(inner) for inner in value.values())
    if isinstance(value, list):
        return all(map(integers, value))
    return not isinstance(value, float) or abs(value) < 2


def test_files_of_the_reference_are_taken_with_their_fractions_and_texts(fleet):
    """Appendix C.15, its first half: times of the reference's file may have fractions of a millisecond, and
    `detectedAt` may be a text; what is shown and exported afterwards are whole milliseconds, at every gateway."""
    site = fleet()
    boss = operator(site)
    answer = boss.post("/api/accounts/import", reference_accounts()).ok()
    assert answer["results"]["failed"] == [] and len(answer["results"]["added"]) == 2
    for _ in site.replicas:
        export = boss.get("/api/accounts/export?full=true").ok()
        accounts = by_email(export)
        first, second = accounts["first@example.com"], accounts["second@example.com"]
        assert first["lastUsed"] in {1_764_230_950_222, 1_764_230_950_223}
        assert first["subscription"] == {"tier": "pro", "projectId": "managed-project", "detectedAt": 1_764_234_000_000}
        limit = first["modelRateLimits"]
        assert set(limit) == {SONNET} and limit[SONNET]["isRateLimited"] is True
        assert 0 <= limit[SONNET]["resetTime"] - 4_102_444_800_000 <= 1
        assert first["quota"]["models"] == {
            SONNET: {"remainingFraction": None, "resetTime": None},
            FLASH: {"remainingFraction": 0.62, "resetTime": "2025-11-28T00:00:00Z"},
        }
        assert 0 <= first["quota"]["lastChecked"] - 1_764_230_000_000 <= 1
        assert first["addedAt"] == "2025-11-27T08:09:10.111Z" and first["enabled"] is False
        assert first["quotaThreshold"] == 0.15 and first["modelQuotaThresholds"] == {SONNET: 0.3}
        assert second["lastUsed"] == 1_764_230_950_000
        assert second["subscription"] == {
            "tier": "ultra",
            "projectId": "second-project",
            "detectedAt": 1_764_230_000_000,
        }
        assert integers(export)
        shown = boss.get("/account-limits").ok()
        one = by_email(shown)["first@example.com"]
        assert one["subscription"]["detectedAt"] == 1_764_234_000_000
        assert one["limits"][FLASH]["remainingFraction"] == 0.62
        assert integers(shown) and integers(boss.get("/api/accounts").ok()) and integers(boss.get("/health").ok())
    for path in ("/api/accounts/export", "/account-limits"):
        assert_spread(site, path)


def test_limits_that_were_imported_are_shown_though_no_account_offers_their_model(fleet):
    """Appendix C.15: a limit of the file that runs on is shown like any other, also where no account has told its
    models yet, and its account counts as limited."""
    site = fleet()
    boss = operator(site)
    boss.post("/api/accounts/import", reference_accounts()).ok()
    exported = by_email(boss.get("/api/accounts/export?full=true").ok())["first@example.com"]["modelRateLimits"]
    assert exported[SONNET]["isRateLimited"] is True
    for page in ("/api/accounts", "/account-limits", "/health"):
        shown = by_email(boss.get(page).ok())["first@example.com"]["modelRateLimits"]
        assert shown[SONNET]["isRateLimited"] is True, page
    assert boss.get("/health").ok()["counts"]["rateLimited"] == 1
