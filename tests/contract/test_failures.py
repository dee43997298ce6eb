"""What the upstream does to the gateway, and what the client notices of it."""

import time

import pytest

from duties import CLIENT, COUNTING, ERRORS, GATEWAY, MESSAGES, PRACTICE, STREAMING, cases, must, should
from laboratory import WORDS
from test_stream import check_nesting
from wire import NoAnswer, text, user

OVERLOADED = (503, 529)


@must("failures.quota", ERRORS, "quota used up on every account: 429 `rate_limit_error`")
def test_quota(laboratory):
    assert laboratory.answer("quota", False).error(429)["type"] == "rate_limit_error"


@must("failures.quota-stream", ERRORS, "… with its status for a stream too")
def test_quota_of_a_stream(laboratory):
    assert laboratory.answer("quota", True).error(429)["type"] == "rate_limit_error"


@must("failures.quota-retry-after", GATEWAY, "… with `retry-after` in whole seconds")
def test_retry_after(laboratory):
    assert laboratory.answer("quota", False).headers["retry-after"].isdigit()


@must("failures.quota-stop", GATEWAY, "… of more than 60, so that the client stops at once")
def test_retry_after_ends_the_turn(laboratory):
    assert int(laboratory.answer("quota", False).headers["retry-after"]) > 60


@should("failures.quota-true", PRACTICE, "… that tells the true reset, to a minute")
def test_retry_after_is_true(laboratory):
    assert 7140 <= int(laboratory.answer("quota", False).headers["retry-after"]) <= 7201


@should("failures.quota-should-retry", CLIENT, "… with `x-should-retry: false`")
def test_should_retry(laboratory):
    assert laboratory.answer("quota", False).headers["x-should-retry"] == "false"


@must("failures.quota-quick", CLIENT, "… at once: waiting two hours is nobody's wish")
def test_quota_is_told_at_once(laboratory):
    assert laboratory.answer("quota", False).took < 10


@must("failures.minute", ERRORS, "a limit of 30 s on every account is waited for, or 429 or 529 with `retry-after` within it")
def test_limit_of_a_minute(laboratory):
    answer = laboratory.answer("minute", False)
    answer.error(429, 529)
    assert 0 < int(answer.headers["retry-after"]) <= 60


@must("failures.capacity", ERRORS, "no capacity anywhere: 529 or 503, `overloaded_error` or `api_error`")
def test_capacity(laboratory):
    assert laboratory.answer("capacity", False).error(*OVERLOADED)["type"] in ("overloaded_error", "api_error")


@must("failures.unauthorized", CLIENT, "the upstream refuses the gateway: never 401, which logs the user out")
def test_the_upstream_refuses_the_gateway(laboratory):
    laboratory.answer("unauthorized", False).error(500, 502, 503)


@must("failures.forbidden", CLIENT, "accounts without permission: an error of its own shape, never 401")
def test_forbidden(laboratory):
    laboratory.answer("forbidden", False).error(403, 502, 503)


@must("failures.banned", CLIENT, "banned accounts: an error of its own shape, never 401")
def test_banned(laboratory):
    laboratory.answer("banned", False).error(403, 502, 503)


@must("failures.verification", CLIENT, "accounts that must be verified: an error of its own shape, never 401")
def test_verification(laboratory):
    laboratory.answer("verification", False).error(403, 502, 503)


@must("failures.broken", ERRORS, "the upstream fails: 5xx `api_error` or `overloaded_error`")
def test_broken(laboratory):
    assert laboratory.answer("broken", False).error(500, 502, 503, 529)["type"] in ("api_error", "overloaded_error")


@must("failures.hang-up", ERRORS, "the upstream hangs up: 5xx in the errors' own shape")
def test_hang_up(laboratory):
    laboratory.answer("hang-up", False).error(500, 502, 503, 529)


@must("failures.argument", ERRORS, "the upstream finds the request invalid: 400 `invalid_request_error`")
def test_argument(laboratory):
    assert laboratory.answer("argument", False).error(400)["type"] == "invalid_request_error"


@must("failures.too-long", GATEWAY, "a prompt that does not fit: 400 with “prompt is too long: N tokens > M maximum”")
def test_too_long(laboratory):
    error = laboratory.answer("too-long", False).error(400)
    assert error["type"] == "invalid_request_error"
    assert "prompt is too long: 250000 tokens > 200000 maximum" in error["message"]


@must("failures.too-long-stream", GATEWAY, "… for a stream too")
def test_too_long_for_a_stream(laboratory):
    assert "prompt is too long: 250000 tokens > 200000 maximum" in laboratory.answer("too-long", True).error(400)["message"]


@must("failures.signature", GATEWAY, "a refused signature is mended, or told in words that the client mends it by")
def test_signature(laboratory):
    answer = laboratory.answer("signature", False)
    if answer.status != 200:
        message = answer.error(400)["message"]
        assert "signature" in message and "thinking" in message


@must("failures.one-account", PRACTICE, "one account without quota is not noticed")
def test_one_account_without_quota(laboratory):
    assert laboratory.answer("quota", False, account="dev1@example.com").ok().text


@must("failures.one-banned", PRACTICE, "one banned account is not noticed")
def test_one_banned_account(laboratory):
    assert laboratory.answer("banned", False, account="dev2@example.com").ok().text


@must("failures.once", PRACTICE, "a failure that happens once is not noticed")
def test_one_failure(laboratory):
    assert laboratory.answer("broken", True, times=1).ok().content[-1].name == "message_stop"


@must("failures.no-account", ERRORS, "a pool without accounts: 5xx at once, never 401")
def test_no_account(laboratory):
    answer = laboratory.answer(None, False, accounts=False)
    answer.error(500, 502, 503)
    assert answer.took < 5


@must("failures.private", PRACTICE, "no error names an account, a project or a token")
def test_errors_are_private(laboratory):
    situations = ("quota", "minute", "capacity", "unauthorized", "forbidden", "banned", "verification", "broken")
    for situation in situations:
        said = laboratory.answer(situation, False).body
        assert not any(word in said for word in (b"@example.com", b"sim-project", b"sim-refresh", b"ya29"))


@must("failures.error-first", STREAMING, "an error before any content: a status, or an `error` event that is the last")
def test_error_before_content(laboratory):
    answer = laboratory.answer("error-first", True)
    if answer.status == 200:
        assert answer.content[-1].name == "error" and not answer.named("content_block_start")
    else:
        answer.error(500, 502, 503, 529)


@pytest.mark.parametrize(
    "situation",
    cases(
        (must("failures.error-later", STREAMING, "an error after content: an `error` event ends the stream"), "error-later"),
        (must("failures.cut", STREAMING, "a connection cut after content: an `error` event ends the stream"), "cut"),
    ),
)
def test_error_after_content(laboratory, situation):
    answer = laboratory.answer(situation, True).ok()
    last = answer.content[-1]
    assert last.name == "error" and last.data["error"]["type"] and last.data["error"]["message"]
    assert answer.text and not answer.named("message_stop")


@must("failures.cut-message", ERRORS, "… and without a stream an error, not half an answer")
def test_half_an_answer_is_an_error(laboratory):
    answer = laboratory.answer("cut", False)
    assert answer.status == 200 and answer.json["stop_reason"] == "end_turn" or answer.error(500, 502, 503, 529)


@must("failures.empty", ERRORS, "an upstream that says nothing, again and again: 5xx, or words that say so; no empty message")
def test_empty(laboratory):
    answer = laboratory.answer("empty", False)
    if answer.status == 200:
        assert answer.text
    else:
        answer.error(500, 502, 503, 529)


@pytest.mark.parametrize("stream", cases(
    (must("failures.max-tokens", MESSAGES, "an answer that ran out of tokens stops by `max_tokens`"), False),
    (must("failures.max-tokens-stream", MESSAGES, "… in a stream too"), True),
))  # fmt: skip
def test_max_tokens(laboratory, stream):
    answer = laboratory.answer("max-tokens", stream).ok()
    assert reason(answer) == "max_tokens" and answer.text == "Half of a"


def reason(answer):
    deltas = answer.named("message_delta") if b"event: " in answer.body else []
    return deltas[0]["delta"]["stop_reason"] if deltas else answer.json["stop_reason"]


@pytest.mark.parametrize(
    "situation",
    cases(
        (must("failures.safety", MESSAGES, "an answer that the upstream censored stops by `refusal`"), "safety"),
        (must("failures.blocked", MESSAGES, "a blocked prompt is a `refusal` or 400, no empty answer"), "blocked"),
    ),
)
def test_refusals(laboratory, situation):
    answer = laboratory.answer(situation, True)
    assert answer.status == 400 and answer.error(400) or reason(answer.ok()) == "refusal"


@pytest.mark.parametrize(
    "situation",
    cases(
        (must("failures.no-finish", STREAMING, "an upstream without a finish reason: the events are complete all the same"), "no-finish"),
        (must("failures.last-line", STREAMING, "an upstream without a last newline: nothing is lost"), "last-line"),
        (must("failures.crlf", STREAMING, "an upstream that ends lines with CR LF: nothing is lost"), "crlf"),
        (must("failures.drip", STREAMING, "an upstream that sends seven bytes at a time: nothing is lost"), "drip"),
    ),
)
def test_odd_streams(laboratory, situation):
    answer = laboratory.answer(situation, True).ok()
    assert check_nesting(answer)
    if situation == "no-finish" and answer.content[-1].name == "error":
        return
    assert answer.content[-1].name == "message_stop" and len(answer.text.split()) >= 200


@must("failures.incremental", STREAMING, "text is passed on as it comes, not collected")
def test_incremental(laboratory):
    answer = laboratory.answer("slow", True).ok()
    times = [when for when, piece in answer.pieces if b"text_delta" in piece]
    assert len(times) > 10 and times[-1] - times[0] > answer.took / 2


@must("failures.ping", GATEWAY, "in a silence of the upstream the client gets `ping`s, 20 s apart at most")
def test_ping(laboratory):
    with laboratory.subject("stall") as client:
        options = {"timeout": 25, "stop": lambda so_far: any(event_is_ping(so_far))}
        answer = client.stream(messages=[user(text(WORDS))], options=options)
    spoken = [when for when, piece in answer.pieces if b"text_delta" in piece]
    pinged = [when for when, piece in answer.pieces if b"event: ping" in piece]
    assert pinged and pinged[-1] - spoken[-1] < 20
    assert answer.named("ping")[-1] == {"type": "ping"}


def event_is_ping(so_far):
    """A ping may come before any text; the one that counts follows it."""
    spoken = False
    for _, piece in so_far.pieces:
        spoken = spoken or b"text_delta" in piece
        yield spoken and b"event: ping" in piece


@must("failures.abort", CLIENT, "a client that hangs up ends the upstream's work within a second")
def test_abort(laboratory):
    with laboratory.subject("slow") as client:
        seen = laboratory.simulator.call("GET", "/sim/connections")["disconnects"]
        options = {"stop": lambda so_far: b"text_delta" in so_far.body}
        assert not client.stream(messages=[user(text("write 2000 words"))], options=options).complete
        gone(laboratory, seen)


@must("failures.abort-message", CLIENT, "… without a stream too")
def test_abort_without_a_stream(laboratory):
    with laboratory.subject("late") as client:
        seen = laboratory.simulator.call("GET", "/sim/connections")["disconnects"]
        with pytest.raises(NoAnswer):
            client.message(options={"timeout": 2})
        gone(laboratory, seen)


def gone(laboratory, seen):
    """The simulator answers 408, which raises, when nobody hangs up on it in time."""
    began = time.monotonic()
    laboratory.simulator.call("GET", f"/sim/wait?event=disconnect&at_least={seen + 1}&timeout_ms=5000")
    assert time.monotonic() - began < 1.0


@should("failures.count", COUNTING, "tokens are counted while no account can answer")
def test_counting_without_accounts(laboratory):
    with laboratory.subject(None, accounts=False) as client:
        assert client.count().ok().json["input_tokens"] > 0


@should("failures.count-limited", COUNTING, "tokens are counted while the quota is used up")
def test_counting_without_quota(laboratory):
    with laboratory.subject("quota") as client:
        client.message()
        assert client.count().ok().json["input_tokens"] > 0


@must("failures.recovery", PRACTICE, "when the upstream is well again, so is the gateway")
def test_recovery(laboratory):
    with laboratory.subject(None) as client:
        with laboratory.simulator.fault({"path": "generateContent", "times": 12}, {"fault": "server_error"}):
            client.message(options={"timeout": 45})
        deadline = time.monotonic() + 40
        while client.message().status != 200:
            assert time.monotonic() < deadline
            time.sleep(1)
