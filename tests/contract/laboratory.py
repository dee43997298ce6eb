"""Situations: what the upstream does, and how the gateway answers a request in it."""

import contextlib

from wire import NoAnswer, text, user

WORDS = "write 200 words"
GENERATE = {"path": "generateContent"}
# Seconds. A gateway may try for a minute to find capacity, with pauses that chance makes longer or shorter.
PATIENCE = 75
SIGNATURE_REFUSED = {
    "error": {
        "code": 400,
        "message": "messages.1.content.0: Invalid `signature` in `thinking` block",
        "status": "INVALID_ARGUMENT",
    }
}


def finished(reason, *parts):
    """An answer of one chunk."""
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": reason}
    usage = {"promptTokenCount": 12, "candidatesTokenCount": 3, "totalTokenCount": 15}
    return {"chunks": [{"response": {"candidates": [candidate], "usageMetadata": usage}}]}


SITUATIONS = {
    "quota": {"fault": "quota_exhausted", "reset_ms": 7_200_000},
    "minute": {"fault": "rate_limited", "reset_ms": 30_000},
    "capacity": {"fault": "capacity"},
    "unauthorized": {"fault": "unauthorized"},
    "forbidden": {"fault": "permission_denied"},
    "banned": {"fault": "banned"},
    "verification": {"fault": "validation_required"},
    "broken": {"fault": "server_error"},
    "hang-up": {"hang_up": True},
    "argument": {"fault": "invalid_argument"},
    "too-long": {"fault": "prompt_too_long"},
    "signature": {"status": 400, "body": SIGNATURE_REFUSED},
    "empty": {"empty": True},
    "error-first": {"error_after": 0},
    "error-later": {"error_after": 2},
    "cut": {"cut_after": 2},
    "max-tokens": finished("MAX_TOKENS", {"text": "Half of a"}),
    "safety": finished("SAFETY", {"text": "I"}),
    "blocked": {"blocked": "PROHIBITED_CONTENT"},
    "no-finish": {"finish_reason": ""},
    "last-line": {"no_final_newline": True},
    "crlf": {"crlf": True},
    "drip": {"drip": {"bytes": 7, "interval_ms": 1}},
    "slow": {"delivery": {"mode": "paced", "interval_ms": 50, "chunk_chars": 24}},
    "stall": {"stall_after": 2},
    "late": {"delay_ms": 20_000},
}


class Laboratory:
    """Every situation gets a subject of its own, so that none suffers from another's limits; answers are kept."""

    def __init__(self, kind, simulator, folders):
        self.kind = kind
        self.simulator = simulator
        self.folders = folders
        self.kept = {}

    @contextlib.contextmanager
    def subject(self, situation, accounts=True, **when):
        """A new subject while the upstream does what the situation says."""
        chosen = self.kind(self.folders.mktemp("subject"), self.simulator, accounts)
        try:
            with self.simulator.fault(GENERATE | when, SITUATIONS[situation]) if situation else contextlib.nullcontext():
                yield chosen.client
        finally:
            chosen.stop()

    def answer(self, situation, stream, accounts=True, **when):
        """How it answers a small request; the same request is not sent twice."""
        key = (situation, stream, accounts, repr(when))
        if key not in self.kept:
            self.kept[key] = self.ask(situation, stream, accounts, when)
        found = self.kept[key]
        if isinstance(found, NoAnswer):
            raise found
        return found

    def ask(self, situation, stream, accounts, when):
        with self.subject(situation, accounts, **when) as client:
            try:
                return client.message(stream=stream, messages=[user(text(WORDS))], options={"timeout": PATIENCE})
            except NoAnswer as failure:
                return failure
