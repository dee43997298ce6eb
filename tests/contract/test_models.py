"""Which models there are."""

import datetime

import pytest

from duties import ERRORS, GATEWAY, MODELS, PRACTICE, must, should


@pytest.fixture(scope="module")
def answer(api):
    return api.get("/v1/models?limit=1000")


@pytest.fixture(scope="module")
def models(answer):
    return answer.ok().json["data"]


@must("models.direct", GATEWAY, "the list is given without a redirect, as JSON")
def test_direct(answer):
    assert answer.status == 200 and answer.headers["content-type"].startswith("application/json")


@must("models.quick", GATEWAY, "… within the client's patience of 3 s")
def test_quick(api):
    assert api.get("/v1/models?limit=1000").ok().took < 3


@must("models.id", MODELS, "each has an id, no two the same")
def test_ids(models):
    ids = [model["id"] for model in models]
    assert all(ids) and len(set(ids)) == len(ids)


@must("models.type", MODELS, "each has `type: model`")
def test_type(models):
    assert {model["type"] for model in models} == {"model"}


@must("models.name", GATEWAY, "each has a `display_name`, which the client shows")
def test_names(models):
    assert all(isinstance(model["display_name"], str) and model["display_name"] for model in models)


@must("models.created", MODELS, "each has `created_at` in RFC 3339")
def test_created(models):
    for model in models:
        assert datetime.datetime.fromisoformat(model["created_at"]).tzinfo is not None


@must("models.pages", MODELS, "the list says where it begins and ends, and that there is no more")
def test_pages(answer, models):
    page = answer.json
    assert page["has_more"] is False
    assert (page["first_id"], page["last_id"]) == (models[0]["id"], models[-1]["id"])


@must("models.claude", GATEWAY, "one id at least has `claude` in it: the client keeps no others")
def test_claude(models):
    assert any("claude" in model["id"] for model in models)


@must("models.usable", PRACTICE, "what is listed can be asked")
def test_usable(api, models):
    for model in models:
        api.message(model=model["id"], max_tokens=4000).ok()


@should("models.stable", PRACTICE, "the list is the same when asked again")
def test_stable(api, models):
    assert api.get("/v1/models?limit=1000").ok().json["data"] == models


@should("models.limit", MODELS, "`limit` is honoured, and `has_more` says that there is more")
def test_limit(api, models):
    page = api.get("/v1/models?limit=1").ok().json
    assert len(page["data"]) == 1 and page["has_more"] is (len(models) > 1)


@should("models.after", MODELS, "`after_id` goes on where the last page ended")
def test_after(api, models):
    page = api.get(f"/v1/models?limit=1&after_id={models[0]['id']}").ok().json
    assert [model["id"] for model in page["data"]] == [model["id"] for model in models[1:2]]


@must("models.one", MODELS, "`GET /v1/models/{id}` gives one")
def test_one(api, models):
    assert api.get("/v1/models/" + models[0]["id"]).ok().json["id"] == models[0]["id"]


@must("models.unknown", ERRORS, "an unknown one is 404 `not_found_error`")
def test_unknown(api):
    assert api.get("/v1/models/no-such-model").error(404)["type"] == "not_found_error"
