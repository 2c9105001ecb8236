"""Embeddings, completions, moderations and rankings down the whole road: what is held, charged and refused."""

import json
from decimal import Decimal
from typing import Any, Final

import pytest

from gateway.core.estimate import MESSAGE_TOKENS, REQUEST_TOKENS
from gateway.core.openai_completions.request import DEFAULT_LIMIT
from gateway.relay.catalogue import Alias
from tests.provider import Provider
from tests.relay.small_dialects import COMPLETIONS, EMBED, EMBEDDINGS, MODERATIONS, RERANK, answers, upstream_of
from tests.road import INPUT_UCR, OUTPUT_UCR, Road, Roads, chat, upstream_at

HELD: Final = "x-tollgate-credits-reserved"
SMALL: Final = "text-embedding-3-small"
SMALL_UCR: Final = 20
"""Of one token."""
INSTRUCT: Final = "gpt-3.5-turbo-instruct"
INSTRUCT_UCR: Final = (1_500, 2_000)
"""Of a token of the prompt and of the output."""
SEARCH_UCR: Final = 2_000_000
"""Of a unit of `rerank-v3.5`."""
SPEAKS_ALL: Final = frozenset({"openai-completions", "openai-embeddings", "openai-moderations", "rerank"})


def embedding(value: Any = "Hello, world!", **fields: Any) -> dict[str, Any]:
    return {"model": SMALL, "input": value, **fields}


def completion(**fields: Any) -> dict[str, Any]:
    return {"model": INSTRUCT, "prompt": "Once upon a time", **fields}


def ranking(documents: int = 3, **fields: Any) -> dict[str, Any]:
    texts = [f"document {number}" for number in range(documents)]
    return {"model": "rerank-v3.5", "query": "toll", "documents": texts, **fields}


def held_ucr(answer: Any) -> int:
    return int(Decimal(answer.headers[HELD]) * 1_000_000)


@pytest.fixture
async def openai(roads: Roads, provider: Provider) -> Road:
    return await roads.open(upstream_of("openai", provider.base_url))


@pytest.fixture
async def cohere(roads: Roads, provider: Provider) -> Road:
    return await roads.open(upstream_of("cohere", provider.base_url))


# --- embeddings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "tokens"),
    [("Hello, world!", 15), (["Hello", "world"], 17), ([15339, 11, 1917, 0], 4), ([[15339, 11], [1917, 0, 7]], 5)],
    ids=["text", "texts", "numbers", "arrays of numbers"],
)
async def test_an_embedding_holds_its_prompt_alone_and_costs_what_is_reported(
    openai: Road, provider: Provider, value: Any, tokens: int
) -> None:
    answer = await openai.ask(embedding(value), path=EMBEDDINGS, x_replay_prompt_tokens=5)
    assert answer.status == 200
    assert answer.json["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert held_ucr(answer) == tokens * SMALL_UCR, "a byte is a token at most, and a number is one"
    assert await openai.spent_ucr() == 5 * SMALL_UCR
    (end,) = await openai.books()
    assert (end.ended, end.prompt_tokens, end.output_tokens, end.streamed) == ("ok", 5, 0, False)


async def test_an_embedding_without_usage_costs_what_we_estimate_and_token_numbers_are_exact(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(upstream_of("openai", provider.base_url))
    answer = await road.ask(embedding([7] * 500), path=EMBEDDINGS, x_replay_usage="no")
    assert answer.status == 200
    assert await road.spent_ucr() == 500 * SMALL_UCR
    (end,) = await road.books()
    assert (end.ended, end.prompt_tokens) == ("estimated", 500)


async def test_a_batch_may_fill_the_window_once_for_each_input(openai: Road) -> None:
    """8,191 tokens bound one input of this model, and not a hundred."""
    answer = await openai.ask(embedding(["x" * 1_000] * 100), path=EMBEDDINGS)
    assert held_ucr(answer) > 100 * 1_000 * SMALL_UCR
    answer = await openai.ask(embedding("x" * 50_000), path=EMBEDDINGS)
    assert held_ucr(answer) == 8_191 * SMALL_UCR


async def test_token_numbers_teach_nothing_of_texts(openai: Road) -> None:
    for _ in range(40):
        numbers = completion(prompt=[1] * 60, suffix="x" * 58)
        assert (await openai.ask(numbers, path=COMPLETIONS, x_replay_prompt_tokens=75)).status == 200
    await openai.tell()
    text = await openai.ask(completion(prompt="x" * 58), path=COMPLETIONS, x_replay_usage="no")
    assert text.status == 200
    assert (await openai.books())[-1].prompt_tokens == 15


async def test_more_than_the_organisation_has_is_refused_and_nothing_is_sent(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_of("openai", provider.base_url), credits="0.000100")
    answer = await road.ask(embedding("x" * 1_000), path=EMBEDDINGS)
    assert (answer.status, answer.error["code"]) == (402, "insufficient_credits")
    most_ucr = (1_002 + REQUEST_TOKENS + MESSAGE_TOKENS) * SMALL_UCR
    assert Decimal(answer.error["metadata"]["required"]) * 1_000_000 == most_ucr
    assert (await provider.sent())["calls"] == []
    assert await road.books() == []


async def test_an_error_or_an_empty_answer_costs_nothing(roads: Roads, openai: Road) -> None:
    answer = await openai.ask(embedding(), path=EMBEDDINGS, x_replay_status=429)
    assert answer.status == 429
    assert await openai.spent_ucr() == 0
    for body in ({"object": "list", "data": []}, {"error": {"message": "no"}}):
        async with answers(body, path="/v1/embeddings") as url:
            road = await roads.open(upstream_of("openai", url))
            assert (await road.ask(embedding(), path=EMBEDDINGS)).status == 200
            assert await road.spent_ucr() == 0


async def test_a_broken_answer_costs_nothing_and_is_not_passed_on(openai: Road) -> None:
    answer = await openai.ask(embedding(), path=EMBEDDINGS, x_replay_garbage="html")
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert await openai.spent_ucr() == 0


async def test_an_alias_is_spliced_and_fails_over(roads: Roads, provider: Provider) -> None:
    road = await roads.open(
        upstream_of("openai", "http://127.0.0.1:9/v1"),
        upstream_of("openai", provider.base_url, name="spare"),
        aliases=(Alias("embedder", (("openai", SMALL), ("spare", SMALL))),),
    )
    answer = await road.ask({"input": "hi", "model": "embedder"}, path=EMBEDDINGS)
    assert (answer.status, answer.headers["x-tollgate-upstream"]) == (200, "spare")
    assert answer.json["model"] == SMALL


# --- kinds of models --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "request_", "kind"),
    [
        (EMBEDDINGS, embedding(model="gpt-4o"), "chat"),
        (MODERATIONS, {"model": "gpt-4o", "input": "hi"}, "chat"),
        (RERANK, ranking(model="gpt-4o"), "chat"),
        ("/v1/chat/completions", chat(model=SMALL), "embedding"),
        ("/v1/messages", chat(model=SMALL, max_tokens=5), "embedding"),
        ("/v1/chat/completions", chat(model=INSTRUCT), "completion"),
        (COMPLETIONS, completion(model="gpt-5-codex"), "responses"),
        (COMPLETIONS, completion(model=SMALL), "embedding"),
        (EMBEDDINGS, embedding(model="omni-moderation-latest"), "moderation"),
    ],
    ids=str,
)
async def test_a_model_of_another_kind_is_refused_before_anything_is_held(
    roads: Roads, provider: Provider, path: str, request_: dict[str, Any], kind: str
) -> None:
    road = await roads.open(
        upstream_of("openai", provider.base_url),
        aliases=(Alias("gpt-5-codex", (("openai", "gpt-5-codex"),)), Alias(INSTRUCT, (("openai", INSTRUCT),))),
    )
    answer = await road.ask(request_, path=path)
    error = answer.json["error"]
    assert (answer.status, error["code"], error["param"]) == (400, "model_not_supported", "model")
    assert f"`{kind}`" in error["message"]
    assert "Nothing was reserved" in error["message"]
    assert await road.books() == []
    assert (await provider.sent())["calls"] == []


async def test_models_are_listed_where_their_provider_speaks_a_dialect_of_theirs(
    roads: Roads, provider: Provider
) -> None:
    async def names(road: Road) -> set[str]:
        return {model["id"] for model in (await road.get("/v1/models")).json["data"]}

    some = {SMALL, INSTRUCT, "omni-moderation-latest", "gpt-4o"}
    assert some <= await names(await roads.open(upstream_of("openai", provider.base_url)))
    chats = await names(await roads.open(upstream_of("openai", provider.base_url, dialects=frozenset({"openai-chat"}))))
    assert chats & some == {"gpt-4o"}
    cohere = await names(await roads.open(upstream_of("cohere", provider.base_url)))
    assert {"embed-v4.0", "rerank-v3.5"} <= cohere


async def test_a_model_of_which_only_a_price_is_known_may_be_of_any_kind(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url, dialects=SPEAKS_ALL))
    for path, request in (
        (EMBEDDINGS, embedding(model="plain")),
        (COMPLETIONS, completion(model="plain")),
        (MODERATIONS, {"model": "plain", "input": "hi"}),
        (RERANK, ranking(model="plain")),
    ):
        assert (await road.ask(request, path=path)).status == 200
    assert [end.ended for end in await road.books()] == ["ok", "ok", "estimated", "ok"]


async def test_what_no_route_takes_is_404(openai: Road) -> None:
    for path in ("/v1/edits", "/v1/embeddings/x", "/v1/images/generations", "/v2/rerank", "/v1/Embeddings"):
        assert (await openai.ask(embedding(), path=path)).status == 404


# --- completions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_completion_costs_what_is_reported(openai: Road, stream: bool) -> None:
    answer = await openai.ask(
        completion(stream=stream, max_tokens=50), path=COMPLETIONS, x_replay_prompt_tokens=9, x_replay_output_tokens=20
    )
    assert answer.status == 200
    (end,) = await openai.books()
    assert (end.ended, end.prompt_tokens, end.output_tokens, end.finish_reason) == ("ok", 9, 20, "stop")
    assert await openai.spent_ucr() == 9 * INSTRUCT_UCR[0] + 20 * INSTRUCT_UCR[1]
    if stream:
        assert answer.events[-1] == b"[DONE]"
        assert not any(chunk.get("usage") for chunk in answer.chunks), "it was not asked for"


async def test_usage_is_passed_on_where_it_was_asked_for(openai: Road) -> None:
    asked = completion(stream=True, stream_options={"include_usage": True})
    answer = await openai.ask(asked, path=COMPLETIONS, x_replay_output_tokens=3)
    assert answer.chunks[-1]["usage"]["completion_tokens"] == 3


async def test_without_a_limit_openais_is_held_and_sent(openai: Road, provider: Provider) -> None:
    answer = await openai.ask(completion(), path=COMPLETIONS)
    assert held_ucr(answer) == len('"Once upon a time"') * INSTRUCT_UCR[0] + DEFAULT_LIMIT * INSTRUCT_UCR[1]
    assert answer.json["choices"][0]["finish_reason"] == "length"
    assert (await provider.call())["tokens"]["output_tokens"] == DEFAULT_LIMIT


async def test_outputs_that_nobody_sees_are_held_and_charged(openai: Road) -> None:
    answer = await openai.ask(
        completion(prompt=["a", "b"], n=2, best_of=4, max_tokens=30), path=COMPLETIONS, x_replay_output_tokens=30
    )
    assert len(answer.json["choices"]) == 4
    assert held_ucr(answer) > 8 * 30 * INSTRUCT_UCR[1]
    (end,) = await openai.books()
    assert (end.ended, end.output_tokens) == ("ok", 8 * 30)


async def test_a_stream_that_begins_with_a_slice_grows_and_is_cut_off_when_credits_end(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(
        upstream_at(provider.base_url, dialects=SPEAKS_ALL), credits="3", reserve={"first_slice_tokens": 64}
    )
    request = completion(model="plain", stream=True, max_tokens=1_900)
    answer = await road.ask(request, path=COMPLETIONS, x_replay_output_tokens=1_900, x_replay_prompt_tokens=4)
    assert answer.status == 200
    last = answer.chunks[-1]
    assert last["error"]["code"] == "insufficient_credits"
    assert last["object"] == "text_completion"
    assert "choices" not in last
    said = sum(len(choice["text"]) for chunk in answer.chunks for choice in chunk.get("choices", ())) // 4
    (end,) = await road.books()
    assert end.ended == "cut_off"
    assert said * OUTPUT_UCR <= end.charged_ucr <= 3_000_000
    assert said > 200


@pytest.mark.parametrize(
    ("directions", "ended"),
    [
        ({"x_replay_break": 5}, "error"),
        ({"x_replay_break": 5, "x_replay_break_by": "end"}, "error"),
        ({"x_replay_break": 5, "x_replay_break_by": "reset"}, "error"),
        ({"x_replay_error_event": 5}, "estimated"),
        ({"x_replay_usage": "no"}, "estimated"),
        ({"x_replay_done": "no"}, "ok"),
        ({"x_replay_usage": "absurd"}, "estimated"),
        ({"x_replay_cuts": 7}, "ok"),
        ({"x_replay_comments": 3}, "ok"),
    ],
    ids=str,
)
async def test_whatever_becomes_of_a_stream_what_came_is_charged_once(
    openai: Road, directions: dict[str, Any], ended: str
) -> None:
    answer = await openai.ask(
        completion(stream=True, max_tokens=20), path=COMPLETIONS, x_replay_output_tokens=20, **directions
    )
    assert answer.status == 200
    texts = [choice["text"] for chunk in answer.chunks for choice in chunk.get("choices", ())]
    said = len("".join(texts)) // 4
    (end,) = await openai.books()
    assert end.ended == ended
    assert end.output_tokens == said > 0
    failed = "error" in answer.chunks[-1]
    assert failed == (ended == "error" or "x_replay_error_event" in directions)


async def test_a_caller_who_leaves_pays_what_came(openai: Road, provider: Provider) -> None:
    request = completion(stream=True, max_tokens=500)
    async with openai.begin(request, path=COMPLETIONS, x_replay_output_tokens=400, x_replay_hang=30) as caller:
        await caller.until_read(b"text")
        await provider.being_asked()
        caller.leave()
    (end,) = await openai.books()
    assert end.ended == "cancelled"
    assert 0 < end.output_tokens <= 30


# --- moderations ------------------------------------------------------------------------------------------------------


async def test_a_moderation_that_names_no_model_is_asked_of_openais_default_and_is_free(
    openai: Road, provider: Provider
) -> None:
    for value in ("hi", ["hi", "there"], [{"type": "text", "text": "hi"}]):
        answer = await openai.ask({"input": value}, path=MODERATIONS)
        assert answer.status == 200
        assert answer.json["model"] == "omni-moderation-latest"
    assert await openai.spent_ucr() == 0
    assert [end.ended for end in await openai.books()] == ["estimated"] * 3


async def test_a_moderation_with_a_price_is_estimated(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url, dialects=SPEAKS_ALL))
    assert (await road.ask({"model": "plain", "input": "x" * 398}, path=MODERATIONS)).status == 200
    assert await road.spent_ucr() == 100 * INPUT_UCR


async def test_an_image_by_its_address_holds_the_window(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url, dialects=SPEAKS_ALL))
    part = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    answer = await road.ask({"model": "plain", "input": [part]}, path=MODERATIONS)
    assert held_ucr(answer) == 8_000 * INPUT_UCR
    answer = await road.ask({"model": "unmapped", "input": [part]}, path=MODERATIONS)
    assert (answer.status, answer.error["code"]) == (400, "content_by_reference")


# --- rankings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("documents", "units"), [(3, 1), (100, 1), (101, 2), (950, 10)])
async def test_a_ranking_costs_the_units_that_the_provider_reports(cohere: Road, documents: int, units: int) -> None:
    answer = await cohere.ask(ranking(documents, top_n=2), path=RERANK)
    assert answer.status == 200
    assert len(answer.json["results"]) == 2
    assert answer.json["meta"]["billed_units"] == {"search_units": units}
    assert held_ucr(answer) == units * SEARCH_UCR
    assert await cohere.spent_ucr() == units * SEARCH_UCR
    assert (await cohere.ended()).ended == "ok"


async def test_more_units_are_held_for_long_documents_than_are_charged(cohere: Road) -> None:
    texts = ["x" * 990] * 100
    answer = await cohere.ask(ranking(documents=0) | {"documents": texts}, path=RERANK)
    assert held_ucr(answer) == 3 * SEARCH_UCR
    assert await cohere.spent_ucr() == SEARCH_UCR


async def test_a_ranking_that_reports_nothing_costs_the_most_it_can(cohere: Road) -> None:
    answer = await cohere.ask(ranking(150), path=RERANK, x_replay_usage="no")
    assert answer.status == 200
    assert await cohere.spent_ucr() == 2 * SEARCH_UCR
    assert (await cohere.ended()).ended == "estimated"


async def test_a_ranking_billed_by_tokens_costs_the_querys_with_each_document(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_of("voyage", provider.base_url))
    answer = await road.ask(ranking(10, model="rerank-2.5", query="q" * 400), path=RERANK)
    tokens = answer.json["usage"]["total_tokens"]
    assert tokens > 10 * 100
    assert held_ucr(answer) > tokens * 50
    assert await road.spent_ucr() == tokens * 50


async def test_units_alone_are_no_tokens_where_tokens_have_the_price(roads: Roads) -> None:
    body = {"id": "r", "results": [{"index": 0, "relevance_score": 0.5}], "meta": {"billed_units": {"search_units": 1}}}
    async with answers(body, path="/v1/rerank") as url:
        road = await roads.open(upstream_at(url, dialects=SPEAKS_ALL))
        assert (await road.ask(ranking(model="plain"), path=RERANK)).status == 200
        assert await road.spent_ucr() > 0
        assert (await road.ended()).ended == "estimated"


# --- Cohere's embeddings ----------------------------------------------------------------------------------------------


async def test_coheres_own_embeddings_cost_their_billed_units(cohere: Road) -> None:
    request = {"model": "embed-v4.0", "texts": ["Hello", "world"], "input_type": "search_query", "max_tokens": None}
    answer = await cohere.ask({**request, "embedding_types": ["float"]}, path=EMBED, x_replay_prompt_tokens=7)
    assert answer.json["meta"]["billed_units"] == {"input_tokens": 7}
    assert await cohere.spent_ucr() == 7 * 120
    assert (await cohere.ended()).prompt_tokens == 7


async def test_cohere_is_asked_in_openais_dialect_as_well(cohere: Road) -> None:
    answer = await cohere.ask(embedding(model="embed-v4.0"), path=EMBEDDINGS, x_replay_prompt_tokens=7)
    assert answer.json["usage"]["prompt_tokens"] == 7
    assert await cohere.spent_ucr() == 7 * 120


# --- bytes ------------------------------------------------------------------------------------------------------------


async def test_bytes_pass_unchanged(roads: Roads) -> None:
    spelled = b'{ "object":"list",\n "data":[{"embedding":[1.50,-0.0e1]}], "usage":{"total_tokens": 3 } }\n'
    async with answers(spelled, path="/v1/embeddings") as url:
        road = await roads.open(upstream_of("openai", url))
        answer = await road.ask(embedding(), path=EMBEDDINGS)
        assert answer.body == spelled
        assert json.loads(spelled)["usage"]["total_tokens"] == 3
        assert await road.spent_ucr() == 3 * SMALL_UCR


async def test_a_batch_too_large_to_keep_costs_what_its_end_reports(
    roads: Roads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.relay.whole.METERED_BYTES_MAX", 2**21)
    data = [{"object": "embedding", "index": index, "embedding": [0.123456789] * 1_000} for index in range(300)]
    answer_of = {"object": "list", "data": data, "model": SMALL}
    for usage, spent_ucr, ended in (
        ({"prompt_tokens": 9_000, "total_tokens": 9_000}, 9_000 * SMALL_UCR, "ok"),
        ({"prompt_tokens": 0, "total_tokens": 0}, 301 * SMALL_UCR, "estimated"),
    ):
        async with answers({**answer_of, "usage": usage}, path="/v1/embeddings") as url:
            road = await roads.open(upstream_of("openai", url))
            answer = await road.ask(embedding(["x"] * 300), path=EMBEDDINGS)
            assert len(answer.json["data"]) == 300
            assert await road.spent_ucr() == spent_ucr
            assert (await road.ended()).ended == ended
