"""The audit log: an entry with each change that people make, in its transaction, and never changed."""

import asyncpg
import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.origin import Origin
from tests.ledger.conftest import Bench
from tests.ledger.desk import ANNA


async def test_an_entry_says_who_did_what_to_which_from_where_and_why(bench: Bench, pool: asyncpg.Pool) -> None:
    grant = await bench.grant(100)
    await bench.ledger.desk.void(bench.org_id, grant, by=ANNA)
    row = await pool.fetchrow(
        "SELECT * FROM audit_log WHERE org_id = $1 AND action = 'grant.voided'",
        bench.org_id,
    )
    assert row is not None
    assert (row["actor"], row["address"], row["request_id"], row["reason"]) == (
        "anna",
        "192.0.2.7",
        ANNA.request_id,
        "asked for by phone",
    )
    assert (row["object_kind"], row["object_id"]) == ("grant", grant)
    assert '"remaining_ucr": 100' in row["before"]
    assert '"remaining_ucr": 0' in row["after"]


@pytest.mark.parametrize("change", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"])
async def test_the_audit_log_is_append_only_even_for_its_owner(
    change: str, bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await bench.grant(1)
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await owner.execute(change)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(change)


@pytest.mark.parametrize("by", [Origin(actor="a\x00b"), Origin(actor="a", reason="x" * 1_001)])
async def test_an_origin_that_cannot_be_written_is_refused_with_its_change(by: Origin, bench: Bench) -> None:
    grant = await bench.grant(10)
    with pytest.raises(InvalidRequest):
        await bench.ledger.desk.void(bench.org_id, grant, by=by)
    assert await bench.numbers() == (10, 0, 0)
