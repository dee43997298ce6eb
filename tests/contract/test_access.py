"""Keys."""

import pytest

from duties import CLIENT, ERRORS, GATEWAY, HTTP, cases, must, should


@pytest.fixture(autouse=True)
def a_key_is_known(api):
    if not api.key:
        pytest.skip("no key is known")


@pytest.mark.parametrize(
    "header",
    cases(
        (must("access.bearer", GATEWAY, "`ANTHROPIC_AUTH_TOKEN` arrives as `authorization: Bearer`"), "Bearer {}"),
        (should("access.scheme-case", HTTP, "the scheme is read in any case"), "bearer {}"),
    ),
)
def test_authorization(api, header):
    api.message(options={"credentials": {"authorization": header.format(api.key)}}).ok()


@must("access.api-key", GATEWAY, "`ANTHROPIC_API_KEY` arrives as `x-api-key`")
def test_api_key(api):
    api.message(options={"credentials": {"x-api-key": api.key}}).ok()


@should("access.either", GATEWAY, "one right key is enough when both headers are there")
def test_one_right_key_is_enough(api):
    api.message(options={"credentials": {"x-api-key": api.key, "authorization": "Bearer stale"}}).ok()


@pytest.mark.parametrize(
    "credentials",
    cases(
        (must("access.missing", ERRORS, "no key: 401 `authentication_error`"), {}),
        (must("access.wrong", ERRORS, "a wrong key: 401 `authentication_error`"), {"x-api-key": "wrong"}),
        (must("access.empty", ERRORS, "an empty key: 401 `authentication_error`"), {"authorization": "Bearer "}),
    ),
)
def test_refusal(api, credentials):
    answer = api.message(options={"credentials": credentials})
    assert answer.error(401)["type"] == "authentication_error"


@must("access.count-tokens", ERRORS, "token counting needs the key as well")
def test_counting_needs_a_key(api):
    api.count(options={"credentials": {}}).error(401)


@must("access.models", ERRORS, "the model list needs the key as well")
def test_models_need_a_key(api):
    api.get("/v1/models", credentials={}).error(401)


@must("access.no-echo", ERRORS, "a refused key is not repeated in the answer")
def test_the_key_is_not_repeated(api):
    answer = api.message(options={"credentials": {"x-api-key": "sk-hush-hush"}})
    answer.error(401)
    assert b"hush-hush" not in answer.body and "hush-hush" not in repr(answer.headers)


@must("access.first", CLIENT, "the key is checked before the body: a stranger learns nothing about it")
def test_the_key_comes_first(api):
    api.send("POST", "/v1/messages", b"{", credentials={}).error(401)


@should("access.challenge", HTTP, "401 carries `www-authenticate`")
def test_challenge(api):
    assert "www-authenticate" in api.message(options={"credentials": {}}).headers
