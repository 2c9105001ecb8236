"""Calls in OpenAI's Responses dialect down the whole road: what the caller reads, what the provider is paid for."""

from typing import Any, Final

import msgspec
import pytest

from gateway.relay.catalogue import Alias, Served
from gateway.upstream.registry import Timeouts
from tests.provider import Provider
from tests.relay.messages import says
from tests.road import CACHED_UCR, INPUT_UCR, OUTPUT_MAX, OUTPUT_UCR, PATIENT, WINDOW, Roads, price_ucr, upstream_at

PATH: Final = "/v1/responses"
HASTY: Final = Timeouts(connect_s=5, first_event_s=5, idle_s=0.1, total_s=20)
HELD: Final = "x-tollgate-credits-reserved"
BOTH: Final = Alias("ours", (("main", "plain"), ("spare", "plain")))


def asking(model: str = "plain", **fields: Any) -> dict[str, Any]:
    return {"model": model, "input": "hi", **fields}


def speaking(base_url: str, name: str = "main", **habits: Any) -> Served:
    return upstream_at(base_url, name, dialects=frozenset({"openai-responses"}), **habits)


def event(type: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (type.encode(), msgspec.json.encode({"type": type, **fields}))


def end(type: str = "response.completed", **fields: Any) -> bytes:
    return event(type, response={"id": "resp_1", "model": "plain", "status": "completed", **fields})


CREATED: Final = event("response.created", response={"id": "resp_1", "model": "plain", "status": "in_progress"})
SAYS: Final = event("response.output_text.delta", delta="four")
COMPLETED: Final = end(usage={"input_tokens": 9, "output_tokens": 3, "total_tokens": 12})
ERROR: Final = event("error", code="server_error", message="no", param=None)


def last_error(body: bytes) -> Any:
    name, _, data = body.rstrip(b"\n").rpartition(b"\n\n")[2].partition(b"\n")
    assert name == b"event: error", body
    told = msgspec.json.decode(data.removeprefix(b"data: "))
    assert told["type"] == "error"
    assert (told["code"], told["message"]) == (told["error"]["code"], told["error"]["message"])
    return told["error"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_costs_what_the_provider_reports(roads: Roads, provider: Provider, stream: bool) -> None:
    road = await roads.open(speaking(provider.base_url))
    answer = await road.ask(
        asking(stream=stream),
        path=PATH,
        x_replay_prompt_tokens=50,
        x_replay_cached_tokens=20,
        x_replay_output_tokens=7,
        x_replay_reasoning_tokens=3,
    )
    assert answer.status == 200
    assert await road.spent_ucr() == 30 * INPUT_UCR + 20 * CACHED_UCR + 7 * OUTPUT_UCR
    (call,) = await road.books()
    assert (call.ended, call.prompt_tokens, call.output_tokens, call.reasoning_tokens) == ("ok", 50, 7, 3)
    assert call.finish_reason == "completed"
    assert (await provider.call())["id"].startswith("resp_")


async def test_the_most_it_can_cost_is_held_and_an_unknown_prompt_is_a_whole_window(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(speaking(provider.base_url))
    short = await road.ask(asking(max_output_tokens=20), path=PATH)
    assert float(short.headers[HELD]) < 1
    unbounded: list[dict[str, Any]] = [
        {"tools": [{"type": "web_search"}]},
        {"input": [{"type": "web_search_call", "id": "ws_1"}]},
    ]
    for fields in unbounded:
        long = await road.ask(asking(max_output_tokens=20, **fields), path=PATH)
        assert float(long.headers[HELD]) == price_ucr(WINDOW, 20) / 1_000_000


async def test_a_poor_caller_gets_what_fits(roads: Roads, provider: Provider) -> None:
    credits = price_ucr(400, OUTPUT_MAX // 4) / 1_000_000
    road = await roads.open(speaking(provider.base_url), credits=str(credits))
    answer = await road.ask(asking(), path=PATH, x_replay_output_tokens=5)
    assert answer.status == 200
    assert int(answer.headers["x-tollgate-output-limit"]) < OUTPUT_MAX
    asked = await road.ask(asking(max_output_tokens=OUTPUT_MAX), path=PATH)
    assert (asked.status, asked.error["code"]) == (402, "insufficient_credits")


async def test_a_stream_is_cut_off_when_credits_run_out(roads: Roads, provider: Provider) -> None:
    road = await roads.open(
        speaking(provider.base_url), credits=str(price_ucr(200, 40) / 1_000_000), reserve={"first_slice_tokens": 8}
    )
    answer = await road.ask(asking(stream=True), path=PATH, x_replay_output_tokens=400)
    assert answer.status == 200
    assert last_error(answer.body)["code"] == "insufficient_credits"
    (call,) = await road.books()
    assert (call.ended, call.overage_ucr) == ("cut_off", 0)


async def test_the_model_and_nothing_else_is_changed_for_an_alias(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking(provider.base_url), aliases=(Alias("mine", (("main", "plain"),)),))
    answer = await road.ask(asking("mine"), path=PATH)
    assert (answer.json["model"], answer.headers["x-tollgate-model"]) == ("plain", "mine")


async def test_a_prompt_stored_at_the_provider_is_refused_and_never_sent(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking(provider.base_url))
    answer = await road.ask(asking(prompt={"id": "pmpt_1"}), path=PATH)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "unknown_id", "prompt")
    assert await road.books() == []
    assert (await provider.sent())["calls"] == []


# --- hostile streams --------------------------------------------------------------------------------------------------


async def asked(roads: Roads, pieces: list[bytes], *, then_hang: bool = False) -> tuple[Any, int]:
    async with says(pieces, then_hang=then_hang, path=PATH) as url:
        road = await roads.open(speaking(url, timeouts=HASTY if then_hang else PATIENT))
        answer = await road.ask(asking(stream=True), path=PATH)
        return answer, await road.spent_ucr()


async def test_a_stream_passes_byte_for_byte(roads: Roads) -> None:
    answer, spent = await asked(roads, [CREATED, SAYS, b": ping\n\n", COMPLETED])
    assert answer.body == CREATED + SAYS + b": ping\n\n" + COMPLETED
    assert spent == price_ucr(9, 3)


async def test_a_stream_that_begins_with_what_is_no_event_is_502_and_costs_nothing(roads: Roads) -> None:
    answer, spent = await asked(roads, [CREATED, b"data: <h1>502 Bad Gateway</h1>\n\n", COMPLETED])
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert spent == 0


async def test_a_stream_without_its_end_is_an_error_and_what_came_is_charged(roads: Roads) -> None:
    answer, spent = await asked(roads, [CREATED, SAYS])
    assert answer.body.startswith(CREATED + SAYS)
    assert last_error(answer.body)["code"] == "upstream_error"
    assert spent > 0


async def test_a_stream_that_falls_silent_ends_with_a_timeout(roads: Roads) -> None:
    answer, spent = await asked(roads, [CREATED, SAYS], then_hang=True)
    assert last_error(answer.body)["type"] == "timeout_error"
    assert spent > 0


@pytest.mark.parametrize("told", [ERROR, end("response.failed", status="failed", error={"message": "no"})])
async def test_the_providers_own_error_is_relayed(roads: Roads, told: bytes) -> None:
    before, nothing = await asked(roads, [CREATED, told])
    assert (before.status, before.body, nothing) == (200, CREATED + told, 0)
    after, spent = await asked(roads, [CREATED, SAYS, told])
    assert after.body == CREATED + SAYS + told
    assert spent > 0


async def test_an_error_before_any_content_goes_to_the_next_target(roads: Roads, provider: Provider) -> None:
    async with says([CREATED, ERROR], path=PATH) as url:
        road = await roads.open(speaking(url), speaking(provider.base_url, "spare"), aliases=(BOTH,))
        answer = await road.ask(asking("ours", stream=True), path=PATH)
    assert answer.headers["x-tollgate-upstream"] == "spare"
    assert ERROR not in answer.body


async def test_an_end_without_a_usage_is_estimated(roads: Roads) -> None:
    answer, spent = await asked(roads, [CREATED, SAYS, end()])
    assert answer.body.endswith(end())
    assert spent > 0


async def test_events_in_a_wrong_order_pass_and_are_charged(roads: Roads) -> None:
    answer, spent = await asked(roads, [SAYS, CREATED, COMPLETED])
    assert answer.body == SAYS + CREATED + COMPLETED
    assert spent == price_ucr(9, 3)


async def test_a_caller_who_leaves_pays_for_what_came(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking(provider.base_url))
    async with road.begin(asking(stream=True), path=PATH, x_replay_output_tokens=50, x_replay_hang=20) as caller:
        await caller.until_read(b'"delta":"')
    ended = await road.ended()
    assert (ended.ended, ended.output_tokens > 0) == ("cancelled", True)


async def test_what_only_the_provider_knows_is_read_to_its_end_when_the_caller_leaves(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(speaking(provider.base_url))
    searching = asking(stream=True, tools=[{"type": "web_search"}])
    async with road.begin(
        searching, path=PATH, x_replay_output_tokens=50, x_replay_prompt_tokens=7000, x_replay_interval_ms=5
    ) as caller:
        await caller.until_read(b'"delta":"')
    ended = await road.ended()
    assert (ended.ended, ended.prompt_tokens, ended.output_tokens) == ("cancelled", 7000, 50)


async def test_who_leaves_before_it_is_told_pays_for_the_window(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking(provider.base_url), reserve={"drain_s": 0})
    searching = asking(stream=True, tools=[{"type": "web_search"}])
    async with road.begin(searching, path=PATH, x_replay_output_tokens=50, x_replay_hang=20) as caller:
        await caller.until_read(b'"delta":"')
    ended = await road.ended()
    assert (ended.ended, ended.prompt_tokens) == ("cancelled", WINDOW)
