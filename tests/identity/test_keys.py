"""Keys are shown once, stored as a hash, listed without their text and revoked for good."""

import hashlib
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import NotFound
from gateway.core.origin import Origin
from gateway.identity.keys import Keys, hash_of, new_token
from gateway.identity.orgs import Orgs


def test_a_token_is_43_urlsafe_characters_after_its_mark() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    for token in tokens:
        assert len(token) == 46
        assert hash_of(token) == hashlib.sha256(token.encode()).digest()


@given(st.text())
def test_text_that_is_no_key_is_never_looked_up(text: str) -> None:
    assert hash_of(text) is None


@pytest.mark.parametrize("mar", [lambda t: t[:-1], lambda t: t + "A", lambda t: t + "\n", lambda t: t[:-1] + "é"])
def test_a_token_cut_short_or_lengthened_is_never_looked_up(mar) -> None:  # type: ignore[no-untyped-def]
    assert hash_of(mar(new_token())) is None


async def test_the_text_of_a_key_is_nowhere_in_the_database(keys: Keys, orgs: Orgs, pool: asyncpg.Pool) -> None:
    org = await orgs.create("Acme")
    key, token = await keys.create(org.org_id, name="web")
    row = await pool.fetchrow("SELECT api_key::text AS text, hash FROM api_key")
    assert row is not None
    assert token not in row["text"]
    assert row["hash"] == hash_of(token)
    assert token.startswith(key.prefix)
    assert len(key.prefix) == 9


async def test_a_key_remembers_its_name_models_and_expiry(keys: Keys, orgs: Orgs) -> None:
    org = await orgs.create("Acme")
    expires_at = datetime(2100, 1, 1, tzinfo=UTC)
    key, _ = await keys.create(org.org_id, name="web", models=("gpt-5", "o/x"), expires_at=expires_at)
    assert (key.name, key.models, key.expires_at, key.revoked_at) == ("web", ("gpt-5", "o/x"), expires_at, None)
    assert await keys.page(org.org_id, limit=10, offset=0) == ([key], 1)


async def test_a_key_for_an_unknown_org_is_not_made(keys: Keys) -> None:
    with pytest.raises(NotFound):
        await keys.create(UUID(int=7), name="web")


async def test_keys_of_other_orgs_are_not_listed(keys: Keys, orgs: Orgs) -> None:
    mine, other = await orgs.create("mine"), await orgs.create("other")
    made = [(await keys.create(mine.org_id, name=f"key {number}"))[0] for number in range(3)]
    await keys.create(other.org_id, name="theirs")
    assert await keys.page(mine.org_id, limit=2, offset=1) == (made[1:], 3)


async def test_revoking_again_changes_nothing(keys: Keys, orgs: Orgs, forgotten: list[bytes]) -> None:
    org = await orgs.create("Acme")
    key, token = await keys.create(org.org_id, name="web")
    first = await keys.revoke(org.org_id, key.key_id)
    assert first.revoked_at is not None
    assert await keys.revoke(org.org_id, key.key_id) == first
    assert forgotten == [hash_of(token)] * 2


async def test_another_orgs_key_cannot_be_revoked(keys: Keys, orgs: Orgs) -> None:
    mine, other = await orgs.create("mine"), await orgs.create("other")
    key, _ = await keys.create(mine.org_id, name="web")
    with pytest.raises(NotFound):
        await keys.revoke(other.org_id, key.key_id)
    assert (await keys.page(mine.org_id, limit=1, offset=0))[0][0].revoked_at is None


async def test_the_audit_log_says_who_made_and_revoked_a_key_once_and_never_the_key(
    orgs: Orgs, keys: Keys, pool: asyncpg.Pool
) -> None:
    org = await orgs.create("Acme")
    key, token = await keys.create(org.org_id, name="web", by=Origin(actor="anna"))
    for _ in range(2):
        await keys.revoke(org.org_id, key.key_id, by=Origin(actor="bea"))
    entries = await pool.fetch(
        "SELECT action, actor, object_id, after FROM audit_log WHERE org_id = $1 AND object_kind = 'key' ORDER BY id",
        org.org_id,
    )
    assert [tuple(entry)[:3] for entry in entries] == [
        ("key.created", "anna", key.key_id),
        ("key.revoked", "bea", key.key_id),
    ]
    assert token not in str(entries)
