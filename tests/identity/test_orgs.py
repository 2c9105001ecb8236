"""Organisations are created whole, found, listed, suspended and resumed."""

from uuid import UUID

import asyncpg
import pytest

from gateway.core.errors import Conflict, LedgerUnavailable, NotFound
from gateway.core.origin import Origin
from gateway.identity.orgs import Orgs, OrgStatus
from tests.identity.conftest import NoBooks
from tests.postgres.outage import Outage

NOBODY = UUID(int=7)


async def test_a_new_org_is_active_and_has_an_account_of_its_own_id(orgs: Orgs, books: NoBooks) -> None:
    org = await orgs.create("Acme")
    assert (org.name, org.status, org.account_id) == ("Acme", OrgStatus.ACTIVE, org.org_id)
    assert books.asked == [("open", org.org_id)]
    assert await orgs.get(org.org_id) == org


async def test_an_org_whose_account_cannot_be_opened_is_not_created(orgs: Orgs, books: NoBooks) -> None:
    books.fails = True
    with pytest.raises(LedgerUnavailable):
        await orgs.create("Acme")
    assert await orgs.page(limit=10, offset=0) == ([], 0)


async def test_an_unknown_org_is_not_found(orgs: Orgs) -> None:
    for ask in (orgs.get, orgs.suspend, orgs.resume):
        with pytest.raises(NotFound, match=str(NOBODY)):
            await ask(NOBODY)
    with pytest.raises(NotFound, match="'Nobody'"):
        await orgs.named("Nobody")


async def test_an_org_is_found_by_id_and_by_its_name(orgs: Orgs) -> None:
    org = await orgs.create("Acme")
    assert await orgs.named("Acme") == org
    assert await orgs.named(str(org.org_id)) == org


async def test_a_name_that_several_orgs_bear_asks_for_the_id(orgs: Orgs) -> None:
    one, other = await orgs.create("Acme"), await orgs.create("Acme")
    with pytest.raises(Conflict) as refusal:
        await orgs.named("Acme")
    assert str(one.org_id) in str(refusal.value)
    assert str(other.org_id) in str(refusal.value)


async def test_the_list_is_oldest_first_in_pages(orgs: Orgs) -> None:
    made = [await orgs.create(f"org {number}") for number in range(5)]
    assert await orgs.page(limit=2, offset=0) == (made[:2], 5)
    assert await orgs.page(limit=2, offset=4) == (made[4:], 5)
    assert await orgs.page(limit=2, offset=9) == ([], 5)


async def test_suspending_and_resuming_reach_the_books_and_may_be_repeated(orgs: Orgs, books: NoBooks) -> None:
    org = await orgs.create("Acme")
    books.asked.clear()
    for _ in range(2):
        assert (await orgs.suspend(org.org_id)).status is OrgStatus.SUSPENDED
    assert (await orgs.resume(org.org_id)).status is OrgStatus.ACTIVE
    assert books.asked == [("suspended", org.org_id), ("suspended", org.org_id), ("active", org.org_id)]


async def test_an_outage_is_said_to_be_one(orgs: Orgs, outage: Outage) -> None:
    await outage.begin()
    for ask in (orgs.create("Acme"), orgs.get(NOBODY), orgs.page(limit=1, offset=0), orgs.suspend(NOBODY)):
        with pytest.raises(LedgerUnavailable):
            await ask


async def test_the_audit_log_says_who_made_and_turned_it_and_nothing_of_repetitions(
    orgs: Orgs, pool: asyncpg.Pool
) -> None:
    org = await orgs.create("Acme", by=Origin(actor="anna"))
    for _ in range(2):
        await orgs.suspend(org.org_id, by=Origin(actor="bea", address="192.0.2.7", reason="unpaid"))
    await orgs.resume(org.org_id, by=Origin(actor="anna"))
    entries = await pool.fetch(
        "SELECT action, actor, reason, object_id, after FROM audit_log WHERE org_id = $1 ORDER BY id", org.org_id
    )
    assert [tuple(entry) for entry in entries] == [
        ("org.created", "anna", "", org.org_id, '{"name": "Acme"}'),
        ("org.suspended", "bea", "unpaid", org.org_id, '{"status": "suspended"}'),
        ("org.resumed", "anna", "", org.org_id, '{"status": "active"}'),
    ]


async def test_an_org_that_is_not_created_leaves_no_entry(orgs: Orgs, books: NoBooks, pool: asyncpg.Pool) -> None:
    books.fails = True
    with pytest.raises(LedgerUnavailable):
        await orgs.create("Acme")
    assert await pool.fetchval("SELECT count(*) FROM audit_log") == 0
