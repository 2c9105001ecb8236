"""The audit log: read, chained in the background, and proven.

Every entry has a link with its content's hash and the hash of all that came before, so that whoever changes, removes,
puts in or moves one must make every later link anew. Who could do that too is found by a note of the chain's end, kept
elsewhere: `tollgate audit-log verify` prints one, and compares with one.
"""

import hashlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import asyncpg
import msgspec

from gateway.ledger.accounts import Executor
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("audit_log")
LOOK_ENTRIES: Final = 10_000
"""How many entries a page looks at."""
_CHAIN_AT_ONCE: Final = 500
_LINKS_AT_ONCE: Final = 1_000
THE_GATEWAY: Final = UUID(int=0)
"""Whose the entries are that belong to no organisation: `operators_org` of functions/prices.sql."""
_BEGIN: Final = bytes(32)
"""What the first link follows."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    org_id: UUID
    at: datetime
    actor: str
    address: str
    action: str
    object_kind: str
    object_id: UUID
    before: msgspec.Raw | None
    after: msgspec.Raw | None
    """JSON objects: what changed of the object, as it was and as it is."""
    reason: str
    request_id: UUID | None


class WantedEntries(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries; None: any. Ids half-open."""

    first_id: UUID
    end_id: UUID
    actor: str | None = None
    object_kind: str | None = None
    object_id: UUID | None = None
    action: str | None = None
    markups: bool = False
    """Also those that tell of mark-ups, which are the operator's alone: older ones lie with the organisations."""


class ChainEnd(msgspec.Struct, frozen=True, kw_only=True):
    """To be noted elsewhere: what lies before it cannot be changed unnoticed by whoever does not change the note."""

    position: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.position}:{self.hash.hex()}"


class Tampering(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing that is wrong."""

    what: Literal["changed", "removed", "inserted", "misplaced", "end_differs"]
    """misplaced: the entry was moved, or put into the chain, or what came before it is gone."""
    position: int | None
    """In the chain; None for an entry that is not in it."""
    org_id: UUID | None
    id: UUID | None
    """None where not even the link is left."""
    detail: str


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    end: ChainEnd
    waiting: int
    """Entries that are committed and not chained yet: nothing proves them."""
    tampering: Tampering | None


class AuditLog:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @unavailable_in_outage
    async def page(self, org_id: UUID, wanted: WantedEntries, *, limit: int) -> tuple[list[Entry], UUID | None]:
        """Newest first, and the id before which the list goes on; None: this was all.

        A page looks at LOOK_ENTRIES; of an object or an actor, at theirs alone.
        """
        source = (org_id, wanted.first_id, wanted.end_id, wanted.object_id, wanted.actor, LOOK_ENTRIES)
        rows = await self._pool.fetch(
            _SQL.newest_first, *source, wanted.action, wanted.object_kind, limit + 1, wanted.markups
        )
        entries = [_entry(row) for row in rows[:limit]]
        if len(rows) > limit:
            return entries, entries[-1].id
        seen = await self._pool.fetchrow(_SQL.look_back, *source)
        assert seen is not None
        return entries, seen["last_id"] if seen["looked"] == LOOK_ENTRIES else None

    @unavailable_in_outage
    async def about(self, org_id: UUID, *, objects: list[UUID], actors: list[str], limit: int) -> list[Entry]:
        """What was done to these objects and what these actors did, newest first."""
        rows = await self._pool.fetch(_SQL.about, org_id, objects, actors, limit)
        return [_entry(row) for row in rows]

    async def chain(self) -> None:
        """Chains all that waits. Any number of processes may: each entry is chained once."""
        while await self._pool.fetchval(_SQL.chain, _CHAIN_AT_ONCE) == _CHAIN_AT_ONCE:
            pass


async def verify(connection: Executor, *, noted: ChainEnd | None = None) -> Proof:
    """Recomputes the chain from its beginning. `noted`: what its end was once.

    What is chained meanwhile is left to the next time.
    """
    row = await connection.fetchrow(_SQL.chain_end)
    assert row is not None
    end, waiting = ChainEnd(position=row["position"], hash=row["hash"]), row["waiting"]
    found = await _first_wrong_link(connection, end, noted)
    if found is None:
        stranger = await connection.fetchrow(_SQL.unlinked)
        if stranger is not None:
            found = Tampering(
                what="inserted" if stranger["is_there"] else "removed",
                position=None,
                org_id=stranger["org_id"],
                id=stranger["id"],
                detail="it is in the log and not in the chain"
                if stranger["is_there"]
                else "it waits for its link and is not in the log",
            )
    return Proof(end=end, waiting=waiting, tampering=found)


async def _first_wrong_link(connection: Executor, end: ChainEnd, noted: ChainEnd | None) -> Tampering | None:
    hash, position = _BEGIN, 0
    async for link in _links(connection, end.position):
        position += 1
        if link["position"] != position:
            break
        problem = _problem(link, hash)
        if problem is not None:
            what, detail = problem
            return Tampering(what=what, position=position, org_id=link["org_id"], id=link["id"], detail=detail)
        hash = link["hash"]
        if noted is not None and noted.position == position and noted.hash != hash:
            return _end_differs(position, "the chain has another hash here than was noted: it was made anew")
    else:
        position += 1
    if position <= end.position:
        return Tampering(
            what="removed",
            position=position,
            org_id=None,
            id=None,
            detail=f"the chain of {end.position} lacks this link",
        )
    if hash != end.hash:
        return _end_differs(end.position, "the chain's end has another hash than its last link")
    if noted is not None and noted.position > end.position:
        return _end_differs(end.position, f"the chain was noted with {noted.position} links: the last of them are gone")
    return None


def _problem(link: asyncpg.Record, before: bytes) -> tuple[Literal["changed", "removed", "misplaced"], str] | None:
    if link["content_hash_now"] is None:
        return "removed", "its link is there and the entry is not"
    if link["content_hash_now"] != link["content_hash"]:
        return "changed", "the entry is not what was chained"
    if hashlib.sha256(before + link["content_hash"]).digest() != link["hash"]:
        return "misplaced", "the entry is what was chained, and does not follow what it was chained after"
    return None


def _end_differs(position: int, detail: str) -> Tampering:
    return Tampering(what="end_differs", position=position, org_id=None, id=None, detail=detail)


async def _links(connection: Executor, end: int) -> AsyncIterator[asyncpg.Record]:
    for after in range(0, end, _LINKS_AT_ONCE):
        for link in await connection.fetch(_SQL.links, after, min(after + _LINKS_AT_ONCE, end)):
            yield link


def _entry(row: asyncpg.Record) -> Entry:
    fields = dict(row.items())
    for side in ("before", "after"):
        fields[side] = None if fields[side] is None else msgspec.Raw(fields[side].encode())
    return Entry(**fields)
