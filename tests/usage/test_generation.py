"""A call is found by our id or its provider's, within its organisation, once it has ended."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from gateway.core.errors import NotFound
from gateway.core.ids import first_id_at
from gateway.usage.generation import Generations
from tests.usage.rows import ORG, OTHER_ORG, Books


async def test_a_call_is_found_with_everything_it_was(pool: asyncpg.Pool, books: Books) -> None:
    began = datetime(2026, 11, 19, 12, tzinfo=UTC)
    id = await books.ended(
        used_ucr=7,
        model="fast",
        upstream="openai",
        upstream_model="gpt-5-mini",
        provider_request_id="chatcmpl-1",
        streamed=True,
        status=200,
        finish_reason="stop",
        prompt_tokens=10,
        cached_tokens=4,
        cache_write_tokens=1,
        output_tokens=20,
        reasoning_tokens=5,
        lines='[["input", 6, 250000], ["output", 20, 2000000]]',
        id=first_id_at(int(began.timestamp() * 1000)),
        first_event_ms=120,
        duration_ms=900,
    )
    call = await Generations(pool).find(ORG, str(id))
    assert (call.id, call.model, call.upstream, call.upstream_model) == (id, "fast", "openai", "gpt-5-mini")
    assert (call.prompt_tokens, call.cached_tokens, call.cache_write_tokens) == (10, 4, 1)
    assert (call.output_tokens, call.reasoning_tokens) == (20, 5)
    assert (call.streamed, call.status, call.ended, call.finish_reason) == (True, 200, "ok", "stop")
    assert (call.started_at, call.first_event_ms, call.duration_ms) == (began, 120, 900)
    assert call.lines == (("input", 6, Decimal(250_000)), ("output", 20, Decimal(2_000_000)))
    assert call.used_ucr == 7


async def test_a_row_that_the_sweeper_wrote_is_found_too(pool: asyncpg.Pool, books: Books) -> None:
    id = await books.ended(used_ucr=7, ended="recovered", lines='[["recovered", 1, 7000000]]')
    call = await Generations(pool).find(ORG, str(id))
    assert (call.ended, call.model, call.prompt_tokens, call.first_event_ms) == ("recovered", "", 0, None)


@pytest.mark.parametrize(("kind", "total_ucr"), [("LATE_CHARGE", 10), ("REFUND", 4)])
async def test_a_late_correction_is_part_of_the_cost(
    pool: asyncpg.Pool, books: Books, kind: str, total_ucr: int
) -> None:
    id = await books.ended(used_ucr=7, ended="recovered")
    await books.ended(used_ucr=3, kind=kind, id=await pool.fetchval("SELECT late_id($1)", id), ref_id=id)
    assert (await Generations(pool).find(ORG, str(id))).used_ucr == total_ucr


async def test_the_providers_id_finds_the_latest_call_of_the_org(pool: asyncpg.Pool, books: Books) -> None:
    await books.open(OTHER_ORG)
    await books.ended(used_ucr=1, provider_request_id="chatcmpl-1")
    latest = await books.ended(used_ucr=2, provider_request_id="chatcmpl-1")
    await books.ended(used_ucr=3, provider_request_id="chatcmpl-1", org_id=OTHER_ORG)
    assert (await Generations(pool).find(ORG, "chatcmpl-1")).id == latest


async def test_another_orgs_call_is_not_found(pool: asyncpg.Pool, books: Books) -> None:
    await books.open(OTHER_ORG)
    id = await books.ended(used_ucr=1, org_id=OTHER_ORG, provider_request_id="chatcmpl-1")
    for unknown in (str(id), "chatcmpl-1"):
        with pytest.raises(NotFound, match="no generation"):
            await Generations(pool).find(ORG, unknown)


@pytest.mark.parametrize("id", ["", "nothing", "a\0b", str(UUID(int=9))])
async def test_what_names_no_call_is_not_found(pool: asyncpg.Pool, books: Books, id: str) -> None:
    await books.ended(used_ucr=1, provider_request_id="")
    with pytest.raises(NotFound, match="no generation"):
        await Generations(pool).find(ORG, id)


async def test_a_call_that_still_runs_is_said_to(pool: asyncpg.Pool, books: Books, owner: asyncpg.Connection) -> None:
    id = UUID(int=9)
    await owner.execute(
        "INSERT INTO reservation (org_id, id, account_id, owner_id, amount_ucr, spent_ucr, model,"
        " created_at) VALUES ($1, $2, $1, $2, 1, 1, 'm', now())",
        ORG,
        id,
    )
    with pytest.raises(NotFound, match="still running"):
        await Generations(pool).find(ORG, str(id))


async def test_a_grant_is_no_generation(pool: asyncpg.Pool, books: Books) -> None:
    id = await books.ended(used_ucr=0, kind="GRANT", overage_ucr=None, ended=None)
    with pytest.raises(NotFound):
        await Generations(pool).find(ORG, str(id))
