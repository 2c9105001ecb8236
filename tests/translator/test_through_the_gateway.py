"""A caller, a gateway, its translator's processes, and a provider that speaks Converse: all of them real."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from tests.fakes.bedrock import WORDS, Bedrock, usage
from tests.road import Road, price_ucr, until
from tests.translator.conftest import MODEL, SECRET, Open


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "What is a toll?"}], "max_tokens": 50, **fields}


def pids(road: Road) -> list[int]:
    return [child.pid for child in road.gateway.translator.children]


async def metric(road: Road, name: str) -> float:
    text = (await road.get("/metrics")).body.decode()
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


async def test_whole_and_streamed_answers_are_charged_by_the_providers_own_figures(
    translating: Open, bedrock: Bedrock
) -> None:
    road = await translating()

    whole = await road.ask(ask())
    assert whole.status == 200, whole.body
    assert whole.json["choices"][0]["message"]["content"] == "".join(WORDS)
    assert whole.json["model"] == MODEL
    bedrock.usage = usage(11, 6, cacheReadInputTokens=4)
    streamed = await road.ask(ask(stream=True, stream_options={"include_usage": True}))

    assert streamed.text == "".join(WORDS)
    assert streamed.events[-1] == b"[DONE]"
    told = streamed.chunks[-1]["usage"]
    assert (told["prompt_tokens"], told["completion_tokens"]) == (15, 6)
    assert told["prompt_tokens_details"]["cached_tokens"] == 4
    (first, second) = await road.books()
    assert (first.ended, first.charged_ucr) == ("ok", price_ucr(7, 5))
    assert (second.ended, second.charged_ucr) == ("ok", price_ucr(11, 6) + 4 * 500)
    assert [one["inferenceConfig"]["maxTokens"] for one in bedrock.asked] == [50, 50]
    assert await metric(road, "tollgate_translator_up{") == 1
    assert await metric(road, "tollgate_translator_busy{") == 0
    assert await metric(road, "tollgate_translator_resident_bytes{") > 50 * 2**20


async def test_what_the_provider_refuses_keeps_its_status_is_asked_once_and_costs_nothing(
    translating: Open, bedrock: Bedrock
) -> None:
    road = await translating()
    bedrock.headers = {"retry-after": "7"}

    for status, seen in ((400, 400), (404, 404), (429, 429), (500, 500), (503, 503), (403, 502), (307, 502)):
        for stream in (False, True):
            bedrock.status, bedrock.asked = status, []
            answer = await road.ask(ask(stream=stream))
            assert (status, answer.status) == (status, seen), answer.body
            assert len(bedrock.asked) == 1, "a call is not sent twice"
            assert SECRET not in str(answer.body)
            if seen == 429:
                assert answer.headers["retry-after"] == "7"

    for stream in (False, True):
        bedrock.status, bedrock.asked, bedrock.hang_up = 500, [], True
        answer = await road.ask(ask(stream=stream))
        assert answer.status == 502, answer.body
        assert len(bedrock.asked) == 1, "a broken connection is no reason to ask again"

    assert await road.spent_ucr() == 0
    assert bedrock.pictures == 0, "a redirect was followed"


async def test_what_cannot_be_said_is_refused_by_name_before_the_provider_is_asked(
    translating: Open, bedrock: Bedrock
) -> None:
    road = await translating()
    picture = {"type": "image_url", "image_url": {"url": f"{bedrock.url}/picture.png"}}
    for fields, param in (
        ({"seed": 4}, "seed"),
        ({"logprobs": True}, "logprobs"),
        ({"api_base": "http://127.0.0.1:1"}, "api_base"),
        ({"mock_response": "free"}, "mock_response"),
        ({"extra_headers": {"a": "b"}}, "extra_headers"),
        ({"messages": [{"role": "user", "content": [picture]}]}, "messages[0].content[0].image_url.url"),
    ):
        answer = await road.ask(ask(**fields))
        assert (answer.status, answer.error["param"]) == (400, param), answer.body

    assert bedrock.asked == []
    assert bedrock.pictures == 0
    assert await road.spent_ucr() == 0


async def test_a_process_that_is_killed_in_a_stream_ends_it_cleanly_and_the_next_call_has_another(
    translating: Open, bedrock: Bedrock
) -> None:
    road = await translating()
    bedrock.hold_after = 3

    async with road.begin(ask(stream=True)) as caller:
        await caller.until_read(b"is ")
        (killed,) = pids(road)
        os.kill(killed, signal.SIGKILL)
        answer = await caller.rest()

    assert answer.last_error["code"] == "upstream_error"
    assert answer.text == "A toll is "
    bedrock.hold_after = None
    again = await road.ask(ask(stream=True))
    assert again.text == "".join(WORDS)
    assert again.events[-1] == b"[DONE]"
    broken, whole = await road.books()
    assert 0 < broken.charged_ucr < 60 * 1_000 + 10 * 10_000
    assert broken.output_tokens > 0
    assert whole.charged_ucr == price_ucr(7, 5)
    assert pids(road) != [killed]
    assert await metric(road, 'tollgate_translator_restarts_total{process="0",reason="died"}') == 1


async def test_a_stream_that_breaks_off_or_fails_ends_with_an_error(translating: Open, bedrock: Bedrock) -> None:
    road = await translating()
    for broken in ("break_off", "exception"):
        bedrock.break_off, bedrock.exception = broken == "break_off", broken == "exception"
        answer = await road.ask(ask(stream=True))
        assert answer.status == 200
        assert answer.last_error["message"], broken
        assert answer.text == "".join(WORDS), broken
    for books in await road.books():
        assert books.charged_ucr > 0


async def test_where_the_provider_tells_no_usage_none_is_invented(translating: Open, bedrock: Bedrock) -> None:
    road = await translating()
    bedrock.usage = None

    answer = await road.ask(ask(stream=True, stream_options={"include_usage": True}))

    assert answer.events[-1] == b"[DONE]"
    assert not any(chunk.get("usage") for chunk in answer.chunks), "litellm counts by itself"
    (books,) = await road.books()
    assert books.ended == "estimated"
    assert books.charged_ucr > 0


async def test_a_caller_who_leaves_has_the_provider_left_too(translating: Open, bedrock: Bedrock) -> None:
    road = await translating(on_disconnect="cancel")
    bedrock.hold_after = 2

    async with road.begin(ask(stream=True)) as caller:
        await caller.until_read(b"toll ")
        caller.leave()
        async with asyncio.timeout(10):
            await bedrock.left.wait()


async def test_several_processes_share_many_calls_and_refuse_more_than_they_may_have(
    translating: Open, bedrock: Bedrock
) -> None:
    road = await translating(processes=2, calls_max=4)
    bedrock.hold_after = 0
    calls = [asyncio.create_task(road.ask(ask())) for _ in range(8)]
    await until(lambda: bedrock.open == 8, "all eight are at the provider")

    refused = await road.ask(ask())
    assert (refused.status, refused.error["code"]) == (503, "upstream_unavailable")
    assert await metric(road, "tollgate_translator_busy{") == 8

    bedrock.go_on.set()
    answers = await asyncio.gather(*calls)
    assert {answer.status for answer in answers} == {200}
    assert sorted(books.charged_ucr for books in await road.books()) == [0] + 8 * [price_ucr(7, 5)]


async def test_a_worn_process_is_replaced_and_its_open_call_goes_on(translating: Open, bedrock: Bedrock) -> None:
    road = await translating(restart_calls=2)
    bedrock.hold_after = 2

    async with road.begin(ask(stream=True)) as caller:
        await caller.until_read(b"toll ")
        (old,) = pids(road)
        bedrock.hold_after = None
        assert (await road.ask(ask())).status == 200
        await until(lambda: pids(road) not in ([old], []), "another one is up")
        assert (await road.ask(ask())).status == 200
        assert Path(f"/proc/{old}").exists()
        bedrock.go_on.set()
        answer = await caller.rest()

    assert answer.text == "".join(WORDS)
    assert answer.events[-1] == b"[DONE]"
    await until(lambda: not Path(f"/proc/{old}").exists(), "the old one is gone")
    assert await metric(road, 'tollgate_translator_restarts_total{process="0",reason="worn"}') >= 1


async def test_a_thousand_calls_leave_its_memory_where_it_was(translating: Open, bedrock: Bedrock) -> None:
    road = await translating()

    async def some(count: int) -> None:
        for number in range(count):
            answer = await road.ask(ask(stream=number % 2 == 0))
            assert answer.status == 200, answer.body

    async def many() -> float:
        await asyncio.gather(*(some(50) for _ in range(10)))
        bedrock.asked.clear()
        await another_beat(road)
        return await metric(road, "tollgate_translator_resident_bytes{")

    warm_bytes = await many()
    later_bytes = await many()

    assert later_bytes - warm_bytes < 32 * 2**20
    assert later_bytes < 400 * 2**20
    assert await road.spent_ucr() == 1_000 * price_ucr(7, 5)


async def another_beat(road: Road) -> None:
    """It has told its figures since."""
    child = road.gateway.translator.children[0]
    beat = child.beat
    await until(lambda: child.beat is not beat, "another beat")
