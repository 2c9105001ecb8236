"""Calls in Gemini's dialects down the whole road: what the caller reads, what the provider is paid for."""

import json
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest

from gateway.core.caller import KeyKind
from gateway.relay.catalogue import Alias
from gateway.upstream.registry import Timeouts
from tests.provider import Provider
from tests.relay.gemini import (
    ERROR,
    end,
    event,
    generate,
    limited,
    path,
    says,
    says_part,
    speaking_gemini,
    stream,
    text,
)
from tests.road import CACHED_UCR, INPUT_UCR, OUTPUT_UCR, WINDOW, Roads, price_ucr, upstream_at

HELD: Final = "x-tollgate-credits-reserved"
BOTH = Alias("ours", (("main", "plain"), ("spare", "plain")))
EMBED: Final = {"content": {"parts": [{"text": "hello"}]}}


def last_error(body: bytes) -> Any:
    data = body.removesuffix(b"\r\n\r\n").rpartition(b"\r\n\r\n")[2]
    assert data.startswith(b'data: {"error":'), data
    return json.loads(data.removeprefix(b"data: "))["error"]


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [path(), stream(), path("streamGenerateContent")])
async def test_an_answer_costs_what_the_provider_reports(roads: Roads, provider: Provider, where: str) -> None:
    road = await roads.open(speaking_gemini(provider.base_url))
    answer = await road.ask(
        limited(),
        path=where,
        x_replay_prompt_tokens=50,
        x_replay_cached_tokens=20,
        x_replay_output_tokens=7,
        x_replay_reasoning_tokens=3,
    )
    assert answer.status == 200
    assert await road.spent_ucr() == 20 * CACHED_UCR + 30 * INPUT_UCR + 7 * OUTPUT_UCR
    booked = await road.ended()
    assert (booked.ended, booked.prompt_tokens, booked.output_tokens) == ("ok", 50, 7)
    assert (booked.reasoning_tokens, booked.finish_reason, booked.streamed) == (3, "STOP", where == stream())
    assert (await provider.call())["usage_sent"] is True
    if where.endswith(":streamGenerateContent"):
        assert set(answer.json[0]) >= {"candidates", "usageMetadata"}


async def test_what_googles_tools_had_the_model_read_is_prompt_and_the_window_is_held(roads: Roads) -> None:
    used = {"promptTokenCount": 9, "toolUsePromptTokenCount": 200, "candidatesTokenCount": 4, "totalTokenCount": 213}
    async with says([text("42", **used), end(**used)]) as url:
        road = await roads.open(speaking_gemini(url))
        answer = await road.ask({**limited(), "tools": [{"googleSearch": {}}]}, path=stream())
    assert Decimal(answer.headers[HELD]) * 1_000_000 == WINDOW * INPUT_UCR + 100 * OUTPUT_UCR
    assert await road.spent_ucr() == price_ucr(209, 4)


async def test_the_last_figure_of_each_kind_counts(roads: Roads) -> None:
    body = [
        says_part({"text": "hm", "thought": True}, promptTokenCount=9, thoughtsTokenCount=5, totalTokenCount=14),
        text("hello", promptTokenCount=9, candidatesTokenCount=2, thoughtsTokenCount=5, totalTokenCount=16),
        end(promptTokenCount=10, totalTokenCount=17),
    ]
    async with says(body) as url:
        road = await roads.open(speaking_gemini(url))
        answer = await road.ask(limited(), path=stream())
    assert answer.body == b"".join(body)
    assert await road.spent_ucr() == price_ucr(10, 7)


async def test_a_name_of_the_operators_leads_to_the_providers_address_and_is_renamed_in_the_body(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(speaking_gemini(provider.base_url), aliases=(Alias("my/own:1", (("main", "plain"),)),))
    answer = await road.ask({**limited(), "model": "models/my/own:1"}, path=path(model="my/own:1"))
    assert answer.json["modelVersion"] == "plain"
    assert answer.headers["x-tollgate-model"] == "my/own:1"
    batch = {"requests": [{**EMBED, "model": "models/my/own:1"}] * 2}
    embedded = await road.ask(batch, path=path("batchEmbedContents", "my/own:1"))
    assert len(embedded.json["embeddings"]) == 2
    models = [call["model"] for call in await provider.calls(2)]
    assert models == ["plain", "plain"]


async def test_a_limit_is_sent_where_none_is_known(roads: Roads, provider: Provider) -> None:
    road = await roads.open(
        speaking_gemini(provider.base_url), reserve={"default_output_limit_tokens": 9}, credits="1000"
    )
    answer = await road.ask(generate(), path=stream("boundless"), x_replay_output_tokens=50)
    assert answer.headers["x-tollgate-output-limit"] == "9"
    assert b"MAX_TOKENS" in answer.body
    assert (await road.ended()).output_tokens == 9


async def test_every_candidate_is_paid_for(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_gemini(provider.base_url))
    answer = await road.ask(
        limited(20, candidateCount=3), path=stream(), x_replay_output_tokens=5, x_replay_prompt_tokens=10
    )
    request = msgspec.json.encode(limited(20, candidateCount=3))
    most_ucr = len(request) * INPUT_UCR + 3 * 20 * OUTPUT_UCR
    assert Decimal(answer.headers[HELD]) * 1_000_000 == most_ucr
    assert await road.spent_ucr() == price_ucr(10, 15)


async def test_embeddings_cost_their_prompt_reported_or_not(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_gemini(provider.base_url))
    told = await road.ask(EMBED, path=path("embedContent"), x_replay_prompt_tokens=30)
    assert len(told.json["embedding"]["values"]) == 8
    untold = await road.ask(EMBED, path=path("embedContent"), x_replay_usage="no")
    assert "usageMetadata" not in untold.json
    first, second = await road.books()
    assert (first.ended, first.prompt_tokens, first.charged_ucr) == ("ok", 30, 30 * INPUT_UCR)
    expected = -(-len(msgspec.json.encode(EMBED)) // 4)
    assert (second.ended, second.prompt_tokens, second.output_tokens) == ("estimated", expected, 0)


async def test_a_prompt_that_is_blocked_costs_its_prompt(roads: Roads) -> None:
    used = {"promptTokenCount": 8, "totalTokenCount": 8}
    blocked = event(promptFeedback={"blockReason": "SAFETY"}, usageMetadata=used, responseId="r")
    async with says([blocked]) as url:
        road = await roads.open(speaking_gemini(url))
        answer = await road.ask(limited(), path=stream())
    assert answer.body == blocked
    booked = await road.ended()
    assert (booked.ended, booked.finish_reason, booked.charged_ucr) == ("ok", "SAFETY", 8 * INPUT_UCR)


async def test_a_sandbox_key_is_answered_in_these_dialects_too(roads: Roads, provider: Provider) -> None:
    spoken = frozenset({"gemini-generate", "gemini-embed"})
    sandbox = upstream_at(provider.base_url, "sandbox", provider="replay", dialects=spoken)
    road = await roads.open(speaking_gemini("http://127.0.0.1:9/v1beta"), sandbox, credits="0")
    key = await road.new_key(kind=KeyKind.SANDBOX)
    for body, where in ((limited(), path()), (EMBED, path("embedContent")), (generate(), path("countTokens"))):
        answer = await road.ask(body, path=where, key=key)
        assert (answer.status, answer.headers["x-tollgate-upstream"]) == (200, "sandbox")
    assert await road.spent_ucr() == 0


# --- hostile streams --------------------------------------------------------------------------------------------------


async def test_a_stream_that_ends_without_a_reason_is_an_error_and_what_came_is_charged(roads: Roads) -> None:
    used = {"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12}
    body = [text("four"), text("more", **used), text("here")]
    async with says(body) as url:
        road = await roads.open(speaking_gemini(url))
        answer = await road.ask(limited(), path=stream())
    assert answer.body.startswith(b"".join(body))
    told = last_error(answer.body)
    assert (told["code"], told["status"], told["details"][0]["reason"]) == (502, "UNAVAILABLE", "UPSTREAM_ERROR")
    assert told["details"][-1]["requestId"] == answer.headers["x-request-id"]
    assert await road.spent_ucr() == price_ucr(9, 4), "as it was reported, and our own count of what came after it"
    assert (await road.ended()).ended == "error"


async def test_a_stream_that_falls_silent_ends_with_a_timeout(roads: Roads) -> None:
    hasty = Timeouts(connect_s=5, first_event_s=5, idle_s=0.1, total_s=20)
    used = {"promptTokenCount": 9, "candidatesTokenCount": 1}
    async with says([text("four", **used)], then_hang=True) as url:
        road = await roads.open(speaking_gemini(url, timeouts=hasty))
        answer = await road.ask(limited(), path=stream())
    assert last_error(answer.body)["status"] == "DEADLINE_EXCEEDED"
    assert await road.spent_ucr() == price_ucr(9, 1)


async def test_an_error_event_before_any_content_goes_to_the_next_target(roads: Roads, provider: Provider) -> None:
    async with says([ERROR]) as url:
        road = await roads.open(speaking_gemini(url), speaking_gemini(provider.base_url, "spare"), aliases=(BOTH,))
        answer = await road.ask(limited(), path=stream("ours"))
    assert answer.headers["x-tollgate-upstream"] == "spare"
    assert b"Overloaded" not in answer.body


async def test_an_error_event_of_the_only_target_is_relayed_and_costs_nothing(roads: Roads) -> None:
    async with says([ERROR]) as url:
        road = await roads.open(speaking_gemini(url))
        answer = await road.ask(limited(), path=stream())
    assert (answer.status, answer.body) == (200, ERROR)
    assert await road.spent_ucr() == 0


async def test_an_error_event_after_content_is_relayed_and_what_came_is_charged(roads: Roads) -> None:
    body = [text("four", promptTokenCount=9, candidatesTokenCount=2), ERROR]
    async with says(body) as url:
        road = await roads.open(speaking_gemini(url))
        answer = await road.ask(limited(), path=stream())
    assert answer.body == b"".join(body)
    assert await road.spent_ucr() == price_ucr(9, 2)


@pytest.mark.parametrize("used", [{}, {"promptTokenCount": 0, "totalTokenCount": 0}, {"promptTokenCount": -1}])
async def test_without_a_believable_usage_the_answer_is_estimated(roads: Roads, used: dict[str, int]) -> None:
    async with says([text("a" * 40, **used), end(**used)]) as url:
        road = await roads.open(speaking_gemini(url))
        await road.ask(limited(), path=stream())
    booked = await road.ended()
    assert (booked.ended, booked.output_tokens) == ("estimated", 10)


async def test_output_that_only_the_total_tells_of_is_charged(roads: Roads) -> None:
    used = {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 51}
    async with says([text("hello", **used), end(**used)]) as url:
        road = await roads.open(speaking_gemini(url))
        await road.ask(limited(), path=stream())
    assert await road.spent_ucr() == price_ucr(9, 42)


async def test_what_is_no_chunk_counts_as_said_by_its_bytes(roads: Roads) -> None:
    body = [text("four"), b"data: " + b"x" * 400 + b"\n\n", end()]
    async with says(body) as url:
        road = await roads.open(speaking_gemini(url))
        answer = await road.ask(limited(1000), path=stream())
    assert answer.body == b"".join(body)
    assert (await road.ended()).output_tokens == 101


async def test_a_stream_that_begins_with_what_is_no_chunk_is_502_and_costs_nothing(roads: Roads) -> None:
    async with says([b"data: " + b"x" * 400 + b"\n\n", end()]) as url:
        road = await roads.open(speaking_gemini(url))
        answer = await road.ask(limited(1000), path=stream())
    assert (answer.status, answer.json["error"]["status"]) == (502, "UNAVAILABLE")
    assert await road.spent_ucr() == 0


@pytest.mark.parametrize("body", [b"nonsense", b"[{},", b'["a"]', b"\xff"])
async def test_a_whole_answer_that_is_none_is_an_error_and_costs_nothing(roads: Roads, body: bytes) -> None:
    async with says([body], content_type="application/json") as url:
        road = await roads.open(speaking_gemini(url))
        answers = [
            await road.ask(limited(), path=path()),
            await road.ask(limited(), path=path("streamGenerateContent")),
            await road.ask(EMBED, path=path("embedContent")),
        ]
    assert [answer.status for answer in answers] == [502] * 3
    assert await road.spent_ucr() == 0


async def test_an_array_that_ends_with_an_error_costs_what_it_reported(roads: Roads) -> None:
    chunks = [
        text("four", promptTokenCount=9, candidatesTokenCount=2).removeprefix(b"data: ").strip(),
        ERROR.removeprefix(b"data: ").strip(),
    ]
    body = b"[" + b"\n,\n".join(chunks) + b"]"
    async with says([body], content_type="application/json") as url:
        road = await roads.open(speaking_gemini(url))
        answer = await road.ask(limited(), path=path("streamGenerateContent"))
    assert answer.body == body
    assert await road.spent_ucr() == price_ucr(9, 2)


async def test_a_stream_whose_credits_run_out_ends_with_resource_exhausted(roads: Roads) -> None:
    async with says([*[text("word" * 100)] * 30, end(promptTokenCount=9, candidatesTokenCount=3000)]) as url:
        road = await roads.open(speaking_gemini(url), credits="9", reserve={"first_slice_tokens": 64})
        answer = await road.ask(limited(2000), path=stream())
    assert answer.status == 200
    told = last_error(answer.body)
    assert (told["code"], told["status"]) == (402, "RESOURCE_EXHAUSTED")
    assert told["details"][0]["reason"] == "INSUFFICIENT_CREDITS"
    assert (await road.ended()).ended == "cut_off"
    assert await road.spent_ucr() <= 9_000_000


async def test_a_caller_who_leaves_pays_for_what_is_billed_and_google_bills_to_the_end(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(speaking_gemini(provider.base_url, on_disconnect="drain"))
    async with road.begin(
        limited(), path=stream(), x_replay_output_tokens=20, x_replay_interval_ms=20, x_replay_prompt_tokens=9
    ) as caller:
        await caller.until_read(b"candidates")
        caller.leave()
    await road.idle()
    booked = await road.ended()
    assert (booked.ended, booked.prompt_tokens, booked.output_tokens) == ("cancelled", 9, 20)
