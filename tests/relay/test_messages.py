"""Calls in Anthropic's dialect down the whole road: what the caller reads, what the provider is paid for."""

from decimal import Decimal
from typing import Any, Final

import pytest

from gateway.core.caller import KeyKind
from gateway.pricing.book import PriceOverride
from gateway.relay.catalogue import Alias
from gateway.upstream.registry import Timeouts
from tests.provider import Provider
from tests.relay.messages import (
    COUNT_TOKENS,
    ERROR,
    MESSAGES,
    OPENED,
    PING,
    STOP,
    delta,
    event,
    message,
    says,
    speaking_messages,
    start,
    text,
)
from tests.road import CACHED_UCR, INPUT_UCR, OUTPUT_MAX, OUTPUT_UCR, WINDOW, Road, Roads, price_ucr, upstream_at

HELD: Final = "x-tollgate-credits-reserved"
STREAM = message(stream=True)
BOTH = Alias("ours", (("main", "plain"), ("spare", "plain")))


async def asked(road: Road, request: dict[str, Any] = STREAM) -> Any:
    return await road.ask(request, path=MESSAGES)


def last_error(body: bytes) -> Any:
    import json

    name, _, data = body.rstrip(b"\n").rpartition(b"\n\n")[2].partition(b"\n")
    assert name == b"event: error", body
    return json.loads(data.removeprefix(b"data: "))


async def test_a_stream_that_begins_with_what_is_no_event_is_502_and_costs_nothing(roads: Roads) -> None:
    async with says([start(input_tokens=9, output_tokens=1), b"event: content_block_delta\ndata: {]\n\n", STOP]) as url:
        road = await roads.open(speaking_messages(url))
        answer = await asked(road)
    assert (answer.status, answer.json["error"]["type"]) == (502, "api_error")
    assert await road.spent_ucr() == 0


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_costs_what_the_provider_reports(roads: Roads, provider: Provider, stream: bool) -> None:
    road = await roads.open(speaking_messages(provider.base_url))
    answer = await road.ask(
        message(stream=stream),
        path=MESSAGES,
        x_replay_prompt_tokens=50,
        x_replay_cached_tokens=20,
        x_replay_cache_write_tokens=10,
        x_replay_output_tokens=7,
    )
    assert answer.status == 200
    assert await road.spent_ucr() == 20 * CACHED_UCR + 30 * INPUT_UCR + 7 * OUTPUT_UCR
    (end,) = await road.books()
    assert (end.ended, end.prompt_tokens, end.output_tokens, end.finish_reason) == ("ok", 50, 7, "end_turn")
    call = await provider.call()
    assert call["tokens"]["prompt_tokens"] == 50
    assert call["usage_sent"] is True


async def test_the_figure_of_the_beginning_is_corrected_by_the_end(roads: Roads) -> None:
    body = [
        start(input_tokens=5, output_tokens=1),
        PING,
        OPENED,
        text("hello"),
        delta(input_tokens=40, output_tokens=3),
    ]
    async with says([*body, STOP]) as url:
        road = await roads.open(speaking_messages(url))
        answer = await asked(road)
    assert answer.body == b"".join([*body, STOP])
    assert await road.spent_ucr() == price_ucr(40, 3)


async def test_the_model_and_nothing_else_is_changed_for_an_alias(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_messages(provider.base_url), aliases=(Alias("mine", (("main", "plain"),)),))
    answer = await asked(road, message("mine"))
    assert answer.json["model"] == "plain"
    assert answer.headers["x-tollgate-model"] == "mine"


# --- hostile streams --------------------------------------------------------------------------------------------------


async def test_a_stream_that_ends_without_its_stop_is_an_error_and_what_came_is_charged(roads: Roads) -> None:
    body = [start(input_tokens=9, output_tokens=1), OPENED, text("four"), text("more"), text("here")]
    async with says(body) as url:
        road = await roads.open(speaking_messages(url))
        answer = await asked(road)
    assert answer.body.startswith(b"".join(body))
    told = last_error(answer.body)
    assert (told["type"], told["error"]["type"]) == ("error", "api_error")
    assert told["error"]["code"] == "upstream_error"
    assert told["request_id"] == answer.headers["x-request-id"]
    assert await road.spent_ucr() == price_ucr(9, 3), "the prompt as it was reported, and our own count of what came"
    (end,) = await road.books()
    assert end.ended == "error"


async def test_a_stream_that_falls_silent_ends_with_a_timeout(roads: Roads) -> None:
    hasty = Timeouts(connect_s=5, first_event_s=5, idle_s=0.1, total_s=20)
    async with says([start(input_tokens=9, output_tokens=1), OPENED, text("four")], then_hang=True) as url:
        road = await roads.open(speaking_messages(url, timeouts=hasty))
        answer = await asked(road)
    assert last_error(answer.body)["error"]["type"] == "timeout_error"
    assert await road.spent_ucr() == price_ucr(9, 1)


async def test_an_error_event_before_any_content_goes_to_the_next_target(roads: Roads, provider: Provider) -> None:
    async with says([start(input_tokens=9, output_tokens=1), PING, ERROR]) as url:
        road = await roads.open(speaking_messages(url), speaking_messages(provider.base_url, "spare"), aliases=(BOTH,))
        answer = await asked(road, message("ours", stream=True))
    assert answer.headers["x-tollgate-upstream"] == "spare"
    assert answer.body.endswith(STOP)
    assert b"overloaded_error" not in answer.body


async def test_an_error_event_of_the_only_target_is_relayed_and_costs_nothing(roads: Roads) -> None:
    body = [start(input_tokens=9, output_tokens=1), PING, ERROR]
    async with says(body) as url:
        road = await roads.open(speaking_messages(url))
        answer = await asked(road)
    assert (answer.status, answer.body) == (200, b"".join(body))
    assert await road.spent_ucr() == 0


async def test_an_error_event_after_content_is_relayed_and_what_came_is_charged(roads: Roads) -> None:
    body = [start(input_tokens=9, output_tokens=1), OPENED, text("four"), ERROR]
    async with says(body) as url:
        road = await roads.open(speaking_messages(url))
        answer = await asked(road)
    assert answer.body == b"".join(body)
    assert await road.spent_ucr() == price_ucr(9, 1)


async def test_without_any_usage_the_answer_is_estimated(roads: Roads) -> None:
    async with says([start(), OPENED, text("a" * 40), delta(), STOP]) as url:
        road = await roads.open(speaking_messages(url))
        await asked(road)
    (end,) = await road.books()
    assert (end.ended, end.output_tokens) == ("estimated", 10)
    assert end.prompt_tokens > 0


async def test_a_usage_of_zeros_beside_an_answer_is_not_believed(roads: Roads) -> None:
    zero = {"input_tokens": 0, "output_tokens": 0}
    async with says([start(**zero), OPENED, text("a" * 40), delta(**zero), STOP]) as url:
        road = await roads.open(speaking_messages(url))
        await asked(road)
    (end,) = await road.books()
    assert (end.ended, end.output_tokens) == ("estimated", 10)


async def test_events_in_an_order_of_their_own_are_relayed_and_counted(roads: Roads) -> None:
    body = [text("four"), delta(output_tokens=5), start(input_tokens=7, output_tokens=1), PING, STOP]
    async with says(body) as url:
        road = await roads.open(speaking_messages(url))
        answer = await asked(road)
    assert answer.body == b"".join(body)
    assert await road.spent_ucr() <= price_ucr(7, 5)
    assert await road.spent_ucr() >= price_ucr(7, 1)


async def test_a_ping_does_not_commit_to_a_target_that_then_breaks(roads: Roads, provider: Provider) -> None:
    async with says([start(input_tokens=9, output_tokens=1), PING, OPENED, PING]) as url:
        road = await roads.open(speaking_messages(url), speaking_messages(provider.base_url, "spare"), aliases=(BOTH,))
        answer = await asked(road, message("ours", stream=True))
    assert answer.headers["x-tollgate-upstream"] == "spare"
    assert await road.spent_ucr() > 0


async def test_a_stream_whose_credits_run_out_ends_with_a_billing_error(roads: Roads) -> None:
    words = [text("word" * 100)] * 30
    body = [start(input_tokens=9, output_tokens=1), OPENED, *words, delta(output_tokens=3000), STOP]
    async with says(body) as url:
        road = await roads.open(speaking_messages(url), credits="9", reserve={"first_slice_tokens": 64})
        answer = await asked(road, message(stream=True, max_tokens=2000))
    assert answer.status == 200
    told = last_error(answer.body)["error"]
    assert (told["type"], told["code"]) == ("billing_error", "insufficient_credits")
    (end,) = await road.books()
    assert end.ended == "cut_off"
    assert await road.spent_ucr() <= 9_000_000


async def test_what_is_said_with_tools_and_thoughts_is_counted(roads: Roads) -> None:
    thought = event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "a" * 40})
    signed = event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "s" * 400})
    called = event("content_block_start", index=1, content_block={"type": "tool_use", "name": "look", "input": {}})
    given = event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": "b" * 40})
    async with says([start(input_tokens=9, output_tokens=1), thought, signed, called, given]) as url:
        road = await roads.open(speaking_messages(url))
        await asked(road)
    assert await road.spent_ucr() == price_ucr(9, 21)


async def test_what_is_cached_for_an_hour_is_held_and_charged_at_its_own_price(
    roads: Roads, provider: Provider
) -> None:
    hour = PriceOverride(
        provider="test",
        model="plain",
        input_usd_per_million=Decimal(1),
        output_usd_per_million=Decimal(10),
        cache_write_1h_usd_per_million=Decimal(2),
        context_tokens=WINDOW,
        output_tokens_max=OUTPUT_MAX,
    )
    road = await roads.open(speaking_messages(provider.base_url), prices=(hour,))
    directed: dict[str, Any] = {
        "x_replay_prompt_tokens": 50,
        "x_replay_cache_write_tokens": 40,
        "x_replay_output_tokens": 7,
    }
    system = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    short = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "5m"}}]
    asked_for: list[tuple[object, dict[str, Any]]] = [(system, {"x_replay_cache_write_1h_tokens": 30}), (short, {})]
    held = []
    for each, more in asked_for:
        answer = await road.ask(message(system=each), path=MESSAGES, **directed, **more)
        held.append(Decimal(answer.headers[HELD]))
    assert await road.spent_ucr() == 2 * price_ucr(50, 7) + 30 * INPUT_UCR
    output = Decimal(100 * OUTPUT_UCR) / 1_000_000
    assert held[0] - output == 2 * (held[1] - output), "the whole prompt at the hour's price"


async def test_a_sandbox_key_is_answered_in_this_dialect_too(roads: Roads, provider: Provider) -> None:
    both = frozenset({"openai-chat", "anthropic-messages"})
    sandbox = upstream_at(provider.base_url, "sandbox", provider="replay", dialects=both)
    road = await roads.open(speaking_messages("http://127.0.0.1:9/v1"), sandbox, credits="0")
    key = await road.new_key(kind=KeyKind.SANDBOX)
    for path in (MESSAGES, COUNT_TOKENS):
        answer = await road.ask(message(), path=path, key=key)
        assert (answer.status, answer.headers["x-tollgate-upstream"]) == (200, "sandbox")
    assert await road.spent_ucr() == 0


async def test_a_caller_who_leaves_pays_for_what_came_and_the_provider_is_left(roads: Roads) -> None:
    body = [start(input_tokens=9, output_tokens=1), OPENED, text("four"), text("more")]
    async with says(body, then_hang=True) as url:
        road = await roads.open(speaking_messages(url))
        async with road.begin(STREAM, path=MESSAGES) as caller:
            await caller.until_read(b"more")
            caller.leave()
        await road.idle()
    (end,) = await road.books()
    assert (end.ended, end.prompt_tokens, end.output_tokens) == ("cancelled", 9, 2)
