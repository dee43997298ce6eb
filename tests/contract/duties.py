"""What a check states: a stable id, how binding it is, where the duty comes from, and the duty itself."""

import pytest

# The sources; docs/contract.md spells them out.
GATEWAY = "gateway guide"
MESSAGES = "Messages"
STREAMING = "Streaming"
ERRORS = "Errors"
TOOLS = "Tool use"
THINKING = "Extended thinking"
COUNTING = "Token counting"
MODELS = "Models"
CLIENT = "client, measured"
HTTP = "RFC 9110"
PRACTICE = "practice"


def must(identity, source, text):
    """Without it a client fails, retries in vain or shows nonsense."""
    return pytest.mark.duty(identity, "must", source, text)


def should(identity, source, text):
    """A client gets by without it, worse."""
    return pytest.mark.duty(identity, "should", source, text)


def cases(*pairs):
    """A table of checks: each a mark made by `must` or `should` and the value that the test is called with."""
    return [pytest.param(value, marks=mark, id=mark.args[0]) for mark, value in pairs]
