"""What a call says that it is for: a feature, which budgets and accounts go by, and tags, by which it is found."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest

from gateway.core.origin import ITSELF
from gateway.core.tags import FEATURE_RULE, TAGS_RULE
from gateway.ledger.accounts import open_restricted
from gateway.ledger.budgets import Budget
from gateway.ledger.grants import Grant, TransactionType
from tests.fakes.hostile_upstream import HostileUpstream
from tests.road import Road, Roads, chat, upstream_at

FEATURE, TAGS = "x-tollgate-feature", "x-tollgate-tags"


@pytest.fixture
async def road(roads: Roads, hostile: HostileUpstream) -> Road:
    return await roads.open(upstream_at(hostile.url("well_behaved")))


async def rows(road: Road) -> list[tuple[UUID, str | None, str | None]]:
    """Account, feature and tags of each call, in order."""
    await road.idle()
    connection = await asyncpg.connect(road.dsn)
    try:
        found = await connection.fetch(
            "SELECT account_id, feature, tags::text FROM ledger WHERE org_id = $1 AND ended IS NOT NULL ORDER BY id",
            road.org.org_id,
        )
        return [tuple(row) for row in found]
    finally:
        await connection.close()


async def test_a_call_is_found_by_what_it_said_and_the_provider_hears_none_of_it(
    road: Road, hostile: HostileUpstream
) -> None:
    said = {FEATURE: "summary", TAGS: "web,  beta ,web, v1.2"}
    for request in (chat(), chat(stream=True)):
        assert (await road.ask(request, headers=said)).status == 200
    assert (await road.ask(chat())).status == 200
    org = road.org.org_id
    tagged = (org, "summary", '["web", "beta", "v1.2"]')
    assert await rows(road) == [tagged, tagged, (org, None, None)]
    for request_seen in hostile.requests:
        head = request_seen.head.decode().lower()
        assert "tollgate" not in head
        assert "summary" not in head
    assert len(hostile.requests) == 3

    async def found(query: str) -> list[Any]:
        data: list[Any] = (await road.get(f"/api/credits/transactions?type=USAGE&{query}")).json["data"]
        return data

    assert [(row["feature"], row["tags"]) for row in await found("tag=beta")] == 2 * [
        ("summary", ["web", "beta", "v1.2"])
    ]
    assert len(await found("")) == 3
    assert await found("tag=bet") == []


async def test_a_head_that_comes_again_says_so_again_and_another_says_something_else(road: Road) -> None:
    first = road.wire(chat(), f"{FEATURE}: one", f"{TAGS}: a")
    other = road.wire(chat(), f"{FEATURE}: two")
    chunked = road.wire(chat(), f"{FEATURE}: three", f"{TAGS}: a", f"{TAGS}: b")  # a name twice: aiohttp reads it
    async with await road.connect() as wire:
        for request in (first, first, other, first, road.wire(chat()), chunked, first):
            await wire.send(request)
            assert (await wire.answer()).status == 200
    one, org = ("one", '["a"]'), road.org.org_id
    said = [one, one, ("two", None), one, (None, None), ("three", '["a", "b"]'), one]
    assert await rows(road) == [(org, *each) for each in said]


@pytest.mark.parametrize(
    ("lines", "header", "rule"),
    [
        ([f"{FEATURE}: {'x' * 65}"], FEATURE, FEATURE_RULE),
        ([f"{FEATURE}:"], FEATURE, FEATURE_RULE),
        ([f"{FEATURE}: a\tb"], FEATURE, FEATURE_RULE),
        ([f"{FEATURE}: a", f"{FEATURE}: a"], FEATURE, FEATURE_RULE),
        ([f"{FEATURE}: \udcff"], FEATURE, FEATURE_RULE),
        ([f"{TAGS}: {','.join(map(str, range(9)))}"], TAGS, TAGS_RULE),
        ([f"{TAGS}: {'x' * 65}"], TAGS, TAGS_RULE),
        ([f"{TAGS}: a,,b"], TAGS, TAGS_RULE),
        ([f"{TAGS}:"], TAGS, TAGS_RULE),
        ([f"{TAGS}: two words"], TAGS, TAGS_RULE),
        ([f"{TAGS}: ü"], TAGS, TAGS_RULE),
        ([f"{TAGS}: 1,2,3,4,5", f"{TAGS}: 6,7,8,9"], TAGS, TAGS_RULE),
    ],
)
async def test_what_cannot_be_taken_is_refused_by_name_and_limit_and_nothing_is_reserved(
    road: Road, hostile: HostileUpstream, lines: list[str], header: str, rule: str
) -> None:
    head, body = road.wire(chat()).split(b"\r\n\r\n")
    more = "".join(f"\r\n{line}" for line in lines).encode(errors="surrogateescape")
    async with await road.connect() as wire:
        for _ in range(2):
            await wire.send(head + more + b"\r\n\r\n" + body)
            answer = await wire.answer()
            error = answer.error
            seen = answer.status, error["type"], error["param"], error["code"]
            assert seen == (400, "invalid_request_error", header, "invalid_request")
            assert error["message"] == f"The header `{header}` {rule}; nothing was reserved."
    assert hostile.requests == []
    assert await rows(road) == []


async def test_who_sends_is_asked_first(road: Road) -> None:
    answer = await road.ask(chat(), key="tg-nobody", headers={TAGS: "two words"})
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


async def test_a_budget_of_a_feature_refuses_its_calls_and_no_others(road: Road, hostile: HostileUpstream) -> None:
    budget = Budget(
        budget_id=road.gateway.ids.next(),
        org_id=road.org.org_id,
        scope="feature",
        scope_id="summary",
        period="day",
        max_ucr=1,
    )
    await road.gateway.ledger.set_budget(budget, by=ITSELF)
    refused = await road.ask(chat(), headers={FEATURE: "summary"})
    assert (refused.status, refused.error["code"]) == (402, "budget_exceeded")
    assert refused.error["metadata"]["limit_source"] == "feature_budget"
    assert hostile.requests == []
    for headers in ({FEATURE: "another"}, {}):
        assert (await road.ask(chat(), headers=headers)).status == 200


async def test_an_account_for_a_feature_pays_for_its_calls_alone(road: Road) -> None:
    org, account = road.org.org_id, road.gateway.ids.next()
    connection = await asyncpg.connect(road.dsn)
    try:
        await open_restricted(connection, org, account, name="summaries", features=("summary",))
    finally:
        await connection.close()
    await road.gateway.ledger.grant(
        Grant(
            id=road.gateway.ids.next(),
            org_id=org,
            account_id=account,
            amount_ucr=100_000_000,
            transaction_type=TransactionType.BONUS,
        )
    )
    for headers in ({FEATURE: "summary"}, {FEATURE: "another"}, {}):
        assert (await road.ask(chat(), headers=headers)).status == 200
    assert [row[:2] for row in await rows(road)] == [(account, "summary"), (org, "another"), (org, None)]


async def test_statistics_are_told_by_feature(road: Road) -> None:
    for headers in ({FEATURE: "summary"}, {FEATURE: "summary"}, {}):
        assert (await road.ask(chat(), headers=headers)).status == 200
    await road.idle()
    told = (await road.get("/api/credits/statistics?group_by=feature")).json
    assert {group["group"]: group["calls"] for group in told["data"]} == {"summary": 2, None: 1}
