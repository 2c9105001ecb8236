"""What providers keep of responses: only whom it was handed to may name it, see it, call it off and delete it."""

from typing import Any, Final

import asyncpg
import msgspec
import pytest

from gateway.core.caller import KeyKind
from gateway.core.errors import LedgerUnavailable
from gateway.relay import background
from gateway.relay.catalogue import Alias
from gateway.upstream.registry import Timeouts
from tests.caller import Answer
from tests.provider import Provider
from tests.relay.messages import says
from tests.relay.test_responses import PATH, speaking
from tests.road import OUTPUT_UCR, WINDOW, Road, Roads, price_ucr, until, upstream_at

INSTANT: Final[dict[str, Any]] = {"x_replay_prompt_tokens": 50, "x_replay_output_tokens": 7}


def asked(model: str = "plain", **fields: Any) -> dict[str, Any]:
    return {"model": model, "input": "hi", "max_output_tokens": 100, **fields}


async def created(road: Road, **fields: Any) -> str:
    answer = await road.ask(asked(**fields), path=PATH, **INSTANT)
    assert answer.status == 200, answer.body
    if fields.get("stream"):
        return str(answer.body.partition(b'"id":"')[2].partition(b'"')[0].decode())
    return str(answer.json["id"])


async def act(road: Road, id: str, behind: str = "", *, method: str = "GET", key: str | None = None) -> Answer:
    url = f"{road.gateway.url}{PATH}/{id}{behind}"
    headers = {"authorization": f"Bearer {key or road.key}"}
    async with road.session.request(method, url, headers=headers) as response:
        names = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, names, await response.read())


async def another_org(road: Road) -> str:
    """Its key."""
    gateway = road.gateway
    org = await gateway.orgs.create("Other")
    _, key = await gateway.keys.create(org.org_id, name="other")
    return str(key)


@pytest.fixture
async def road(roads: Roads, provider: Provider) -> Road:
    return await roads.open(speaking(provider.base_url))


# --- previous responses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_ones_own_response_goes_on_and_a_whole_window_is_held_for_it(road: Road, stream: bool) -> None:
    id = await created(road, stream=stream)
    answer = await road.ask(asked(previous_response_id=id), path=PATH)
    assert answer.status == 200
    assert float(answer.headers["x-tollgate-credits-reserved"]) * 1_000_000 == price_ucr(WINDOW, 100)


async def test_anothers_response_is_not_found(road: Road, provider: Provider) -> None:
    id = await created(road)
    theirs = await another_org(road)
    sent = len((await provider.sent())["calls"])
    for fields, code in (
        ({"previous_response_id": id}, "previous_response_not_found"),
        ({"input": [{"type": "item_reference", "id": id}]}, "unknown_id"),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, "unknown_id"),
        ({"conversation": "conv_1"}, "unknown_id"),
    ):
        answer = await road.ask(asked(**fields), path=PATH, key=theirs)
        assert (answer.status, answer.error["code"]) == (400, code)
    for method, behind in (("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", "")):
        assert (await act(road, id, behind, method=method, key=theirs)).status == 404
    assert len((await provider.sent())["calls"]) == sent
    assert (await act(road, id)).status == 200, "it is still there for its owner"


async def test_an_id_of_another_kind_is_not_found(road: Road) -> None:
    answer = await road.ask(asked(), path=PATH)
    item = answer.json["output"][0]["id"]
    assert (await road.ask(asked(previous_response_id=item), path=PATH)).error["code"] == (
        "previous_response_not_found"
    )
    referring = [{"type": "item_reference", "id": item}, {"role": "user", "content": "go on"}]
    assert (await road.ask(asked(input=referring), path=PATH)).status == 200


async def test_what_is_not_kept_is_nobodys(road: Road) -> None:
    id = await created(road, store=False)
    assert (await act(road, id)).status == 404
    assert (await road.ask(asked(previous_response_id=id), path=PATH)).status == 400


async def test_a_call_goes_where_what_it_names_is_kept(roads: Roads, provider: Provider) -> None:
    both = Alias("ours", (("main", "plain"), ("spare", "plain")))
    spare_only = Alias("spares", (("spare", "plain"),))
    road = await roads.open(
        speaking("http://127.0.0.1:9/v1"),
        speaking(provider.base_url, "spare"),
        aliases=(both, spare_only),
    )
    id = await created(road, model="spares")
    answer = await road.ask(asked("ours", previous_response_id=id), path=PATH)
    assert (answer.status, answer.headers["x-tollgate-upstream"]) == (200, "spare")
    main_only = await road.ask(asked("dear", previous_response_id=id), path=PATH)
    assert main_only.headers.get("x-tollgate-upstream", "spare") == "spare"


# --- retrieval --------------------------------------------------------------------------------------------------------


async def test_a_response_is_shown_with_its_input_and_deleted(road: Road, provider: Provider) -> None:
    id = await created(road)
    spent = await road.spent_ucr()
    shown = await act(road, id)
    assert (shown.status, shown.json["id"], shown.json["status"]) == (200, id, "completed")
    assert shown.headers["x-tollgate-upstream"] == "main"
    items = await act(road, id, "/input_items?limit=5&order=asc")
    assert items.json["data"][0]["content"] == "hi"
    assert (await act(road, id, "/cancel", method="POST")).status == 400, "the provider's own words"
    assert (await act(road, id, method="DELETE")).json["deleted"] is True
    assert (await act(road, id)).status == 404
    assert (await road.ask(asked(previous_response_id=id), path=PATH)).status == 400
    assert await road.spent_ucr() == spent, "none of it costs anything"


@pytest.mark.parametrize("path", ["/nothing", "/cancel/more", "/input_items/x"])
async def test_other_paths_are_not_found(road: Road, path: str) -> None:
    id = await created(road)
    assert (await act(road, id, path)).status == 404


@pytest.mark.parametrize("id", ["resp_none", "..", "%2e%2e%2fmodels", "a%3Fb", "x" * 300, "a%00b"])
async def test_ids_that_nobody_was_given_are_not_found(road: Road, provider: Provider, id: str) -> None:
    answer = await act(road, id)
    assert answer.status == 404
    assert (await provider.sent())["calls"] == []


async def test_what_is_not_known_of_a_query_is_refused(road: Road) -> None:
    id = await created(road)
    answer = await act(road, id, "?stream=true")
    assert (answer.status, answer.error["param"]) == (400, "stream")
    assert (await act(road, id, "?stream=false&include[]=reasoning.encrypted_content")).status == 200


async def test_without_a_key_nothing_is_shown(road: Road) -> None:
    id = await created(road)
    assert (await act(road, id, key="nonsense")).status == 401


# --- background -------------------------------------------------------------------------------------------------------


async def begun(road: Road, *, looks: int = 0, **more: Any) -> str:
    answer = await road.ask(asked(background=True), path=PATH, **INSTANT, x_replay_background_looks=looks, **more)
    assert (answer.status, answer.json["status"]) == (200, "queued"), answer.body
    assert "x-tollgate-credits-charged" not in answer.headers
    return str(answer.json["id"])


async def background_rows(road: Road) -> int:
    connection = await asyncpg.connect(road.dsn)
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM background_response")
        return count
    finally:
        await connection.close()


async def settled(road: Road) -> None:
    async def none_left() -> bool:
        return await background_rows(road) == 0

    await until(none_left, "what went on in the background is settled")


async def test_a_response_in_the_background_is_settled_when_it_is_done(road: Road) -> None:
    await begun(road)
    assert await road.held_ucr() > 7 * OUTPUT_UCR
    await settled(road)
    assert await road.spent_ucr() == price_ucr(50, 7)


async def test_a_look_settles_it_before_the_caller_is_told(road: Road) -> None:
    id = await begun(road, looks=0)
    shown = await act(road, id)
    assert shown.json["status"] == "completed"
    assert await background_rows(road) == 0
    assert await road.spent_ucr() == price_ucr(50, 7)


async def test_it_is_asked_for_until_it_is_done(road: Road) -> None:
    id = await begun(road, looks=2)
    assert (await act(road, id)).json["status"] == "in_progress"
    assert await background_rows(road) == 1
    assert (await act(road, id)).json["status"] == "in_progress"
    assert (await act(road, id)).json["status"] == "completed"
    assert await road.spent_ucr() == price_ucr(50, 7)


async def test_one_that_is_called_off_is_never_free(road: Road) -> None:
    id = await begun(road, looks=1_000)
    assert (await act(road, id, method="DELETE")).status == 409
    assert (await act(road, id, "/cancel", method="POST")).json["status"] == "cancelled"
    assert await background_rows(road) == 0
    assert 0 < await road.spent_ucr() < price_ucr(50, 7)
    assert (await act(road, id, method="DELETE")).status == 200


async def test_another_process_settles_what_one_that_died_began(roads: Roads, provider: Provider) -> None:
    """State is in the database alone: whoever polls settles."""
    road = await roads.open(speaking(provider.base_url))
    await begun(road, looks=0)
    other = await roads.open(speaking(provider.base_url), credits="0")
    await other.gateway.background.poll()
    await settled(road)
    assert await road.spent_ucr() == price_ucr(50, 7)


async def test_one_that_the_provider_lost_is_charged_what_it_held(road: Road, provider: Provider) -> None:
    await begun(road, looks=1_000)
    held = await road.held_ucr()
    await provider.forget()
    await settled(road)
    assert await road.spent_ucr() == held > 0


async def test_what_the_provider_refuses_in_the_background_is_released(road: Road) -> None:
    answer = await road.ask(asked(background=True), path=PATH, x_replay_status=429)
    assert answer.status == 429
    assert await road.spent_ucr() == 0


async def test_without_credits_nothing_goes_on_in_the_background(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking(provider.base_url), credits="0")
    answer = await road.ask(asked(background=True), path=PATH)
    assert (answer.status, answer.error["code"]) == (402, "insufficient_credits")
    assert (await provider.sent())["calls"] == []


@pytest.mark.parametrize("fields", [{"stream": True}, {"store": False}])
async def test_what_could_not_be_fetched_later_is_refused(road: Road, fields: dict[str, Any]) -> None:
    answer = await road.ask(asked(background=True, **fields), path=PATH)
    assert (answer.status, answer.error["param"], answer.error["code"]) == (
        400,
        "background",
        "unsupported_parameter",
    )


async def test_one_that_has_not_ended_in_its_time_is_charged_what_it_held(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking(provider.base_url), ledger={"job_life_max_s": 1.0, "expire_s": 0.1})
    await begun(road, looks=1_000)
    held = await road.held_ucr()
    await settled(road)
    assert await road.spent_ucr() == held > 0


async def test_one_whose_row_was_never_written_is_charged_what_it_held(roads: Roads, provider: Provider) -> None:
    """The process died between the provider's answer and the row."""
    road = await roads.open(speaking(provider.base_url), ledger={"job_life_max_s": 1.0, "expire_s": 0.1})
    await begun(road, looks=1_000)
    held = await road.held_ucr()
    connection = await asyncpg.connect(road.dsn)
    await connection.execute("DELETE FROM background_response")
    await connection.close()

    async def nothing_held() -> bool:
        return await road.held_ucr() == 0

    await until(nothing_held, "the ledger ended it")
    assert await road.spent_ucr() == held


async def test_a_sandbox_key_has_its_responses_kept_too(roads: Roads, provider: Provider) -> None:
    dialects = frozenset({"openai-responses"})
    sandbox = upstream_at(provider.base_url, "sandbox", provider="replay", dialects=dialects)
    road = await roads.open(speaking("http://127.0.0.1:9/v1"), sandbox, credits="0")
    road.key = await road.new_key(kind=KeyKind.SANDBOX)
    id = await created(road)
    assert (await act(road, id)).headers["x-tollgate-upstream"] == "sandbox"
    await act(road, await begun(road, looks=0))
    await settled(road)
    assert await road.spent_ucr() == 0


async def test_a_management_key_is_shown_nothing(road: Road) -> None:
    id = await created(road)
    key = await road.new_key(kind=KeyKind.MANAGEMENT)
    for method, behind in (("GET", ""), ("POST", "/cancel"), ("DELETE", "")):
        assert (await act(road, id, behind, method=method, key=key)).status == 403


async def test_no_more_go_on_at_a_time_than_may(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "OPEN_MAX", 1)
    await begun(road, looks=1_000)
    answer = await road.ask(asked(background=True), path=PATH)
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded"), answer.body
    (id,) = await ids_going_on(road)
    await act(road, id, "/cancel", method="POST")


async def ids_going_on(road: Road) -> list[str]:
    connection = await asyncpg.connect(road.dsn)
    try:
        return [str(id) for (id,) in await connection.fetch("SELECT response_id FROM background_response")]
    finally:
        await connection.close()


async def test_a_response_fails_over_in_the_background_and_keeps_its_tags(roads: Roads, provider: Provider) -> None:
    both = Alias("ours", (("main", "plain"), ("spare", "plain")))
    road = await roads.open(speaking("http://127.0.0.1:9/v1"), speaking(provider.base_url, "spare"), aliases=(both,))
    answer = await road.ask(
        asked("ours", background=True),
        path=PATH,
        headers={"x-tollgate-tags": "night"},
        **INSTANT,
        x_replay_background_looks=0,
    )
    assert answer.headers["x-tollgate-upstream"] == "spare"
    await act(road, answer.json["id"])
    assert await road.spent_ucr() == price_ucr(50, 7)
    connection = await asyncpg.connect(road.dsn)
    tags = await connection.fetchval("SELECT tags::text FROM ledger WHERE tags IS NOT NULL")
    await connection.close()
    assert tags == '["night"]'


async def test_an_answer_that_repeats_much_of_the_request_is_read_whole(roads: Roads) -> None:
    response = {"id": "resp_1", "status": "completed", "instructions": "x" * 2**21}
    usage = {"input_tokens": 50, "output_tokens": 7}
    async with says([msgspec.json.encode({**response, "usage": usage})], path=PATH, kind="application/json") as url:
        road = await roads.open(speaking(url))
        answer = await road.ask(asked(background=True), path=PATH)
    assert (answer.status, answer.json["id"]) == (200, "resp_1")
    assert await road.spent_ucr() == price_ucr(50, 7)


@pytest.mark.parametrize("body", [b"not JSON", b"{}", b'{"status":"queued"}'])
async def test_what_was_taken_and_cannot_be_asked_for_is_charged_what_it_held(roads: Roads, body: bytes) -> None:
    async with says([body], path=PATH, kind="application/json") as url:
        road = await roads.open(speaking(url), ledger={"job_life_max_s": 1.0, "expire_s": 0.1})
        answer = await road.ask(asked(background=True), path=PATH)
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")

    async def nothing_held() -> bool:
        return await road.held_ucr() == 0

    await until(nothing_held, "the ledger ended it")
    assert await road.spent_ucr() > 100 * OUTPUT_UCR


# --- what nobody knows has been taken ---------------------------------------------------------------------------------


SHORT: Final = {"job_life_max_s": 1.0, "expire_s": 0.1}


async def ends(road: Road) -> bool:
    return await road.held_ucr() == 0


async def test_one_that_may_have_been_taken_keeps_its_hold_and_goes_nowhere_else(
    roads: Roads, provider: Provider
) -> None:
    hasty = Timeouts(connect_s=5, first_event_s=0.2, idle_s=5, total_s=20)
    both = Alias("ours", (("main", "plain"), ("spare", "plain")))
    road = await roads.open(
        speaking(provider.base_url, timeouts=hasty),
        speaking(provider.base_url, "spare"),
        aliases=(both,),
        ledger=SHORT,
    )
    answer = await road.ask(asked("ours", background=True), path=PATH, x_replay_hang_at="headers")
    assert (answer.status, "may have taken" in answer.error["message"]) == (504, True)
    assert len((await provider.sent())["calls"]) <= 1
    await until(lambda: ends(road), "the ledger ended it")
    assert await road.spent_ucr() > 100 * OUTPUT_UCR


async def test_one_that_nobody_can_have_taken_goes_to_the_next_and_is_let_go_of_at_the_last(
    roads: Roads, provider: Provider
) -> None:
    nowhere = "http://127.0.0.1:9/v1"
    both = Alias("ours", (("main", "plain"), ("spare", "plain")))
    road = await roads.open(speaking(nowhere), speaking(provider.base_url, "spare"), aliases=(both,))
    taken = await road.ask(asked("ours", background=True), path=PATH)
    assert (taken.status, taken.headers["x-tollgate-upstream"]) == (200, "spare")
    assert (await act(road, taken.json["id"], "/cancel", method="POST")).status == 200
    lost = await roads.open(speaking(nowhere))
    assert (await lost.ask(asked(background=True), path=PATH)).status == 502
    assert await lost.held_ucr() == 0


async def test_an_id_that_is_no_part_of_an_address_is_never_asked_for(roads: Roads) -> None:
    odd = {"id": "../models?x=1", "object": "response", "status": "queued", "model": "plain", "output": []}
    async with says([msgspec.json.encode(odd)], path=PATH, kind="application/json") as url:
        road = await roads.open(speaking(url), ledger=SHORT)
        answer = await road.ask(asked(background=True), path=PATH)
        assert (answer.status, answer.error["code"]) == (502, "upstream_error")
        await until(lambda: ends(road), "the ledger ended it")
    assert await road.spent_ucr() > 100 * OUTPUT_UCR


async def test_a_sandbox_key_reaches_nothing_that_was_paid_for(road: Road) -> None:
    id = await created(road)
    sandbox = await road.new_key(kind=KeyKind.SANDBOX)
    for method, behind in (("GET", ""), ("POST", "/cancel"), ("DELETE", "")):
        assert (await act(road, id, behind, method=method, key=sandbox)).status == 404
    assert (await act(road, id)).status == 200


# --- looking after them -----------------------------------------------------------------------------------------------


async def test_an_outage_is_told_as_one(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_: int) -> list[object]:
        raise LedgerUnavailable("away")

    monkeypatch.setattr(road.gateway.background._responses, "take_due", away)
    with pytest.raises(LedgerUnavailable):
        await road.gateway.background.poll()
