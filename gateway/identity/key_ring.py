"""Bearer token → Caller, from memory where it can: one hash and one look-up in a dict for a key seen lately."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import msgspec
import structlog

from gateway.core.address import network_of
from gateway.core.caller import Caller, KeyKind
from gateway.core.errors import LedgerUnavailable, OrgSuspended, Unauthenticated, UserSuspended
from gateway.core.payment_order import PayingAccount
from gateway.identity.keys import hash_of
from gateway.identity.orgs import OrgStatus
from gateway.ops.clock import Clock
from gateway.postgres.changes import Changes
from gateway.postgres.outage import is_outage
from gateway.postgres.queries import load

log = structlog.get_logger()

_SQL: Final = load("api_keys")


class KeyRingSettings(msgspec.Struct, frozen=True, kw_only=True):
    keys_max: int = 10_000
    ttl_s: float = 30.0
    """How long a key is believed without asking: the longest a revocation can go unheard, and an outage unnoticed."""
    unknown_max: int = 10_000
    unknown_ttl_s: float = 10.0
    look_up_timeout_s: float = 2.0
    look_ups_waiting_max: int = 4_096
    look_up_batch_max: int = 256
    ping_s: float = 5.0
    """How often the listening connection proves that it still lives."""
    reconnect_s: float = 0.5


class _Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the database said of one hash."""

    caller: Caller | None
    """None: nobody's key."""
    suspended: bool = False
    """The organisation; the user is, where there is a `suspended_user`."""
    suspended_user: str | None = None
    revoked_at: datetime | None = None
    stale_at_s: float
    """On the monotonic clock."""


class KeyRing:
    """Knows keys for `ttl_s` and forgets them when the database announces a change.

    Misses share queries: whoever asks while one is in flight waits for the next, which asks for all of them, so that
    neither a hot key after a flush nor a flood of made-up keys costs a query each. Unknown keys have a cache of their
    own and cannot push out known ones. Expiry is checked at each use. While the database is away, a key is accepted
    until its entry is stale, and then nobody is: LedgerUnavailable.
    """

    def __init__(self, pool: asyncpg.Pool, *, dsn: str, clock: Clock, settings: KeyRingSettings | None = None) -> None:
        self._pool = pool
        self._clock = clock
        self._settings = settings or KeyRingSettings()
        self._known: OrderedDict[bytes, _Entry] = OrderedDict()
        self._unknown: OrderedDict[bytes, _Entry] = OrderedDict()
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        """Hashes that were somebody's when they were looked up last, also where no more is remembered of them."""
        self._waiting: dict[bytes, asyncio.Future[_Entry | None]] = {}
        self._wanted = asyncio.Event()
        self._epoch = 0
        """Grows with every change heard; an answer asked for before one is used but not kept."""
        self._changes = Changes(
            dsn,
            "tollgate_identity",
            on_change=self._hear,
            on_gap=self.flush,
            ping_s=self._settings.ping_s,
            reconnect_s=self._settings.reconnect_s,
        )
        self._looking_up: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._looking_up = asyncio.create_task(self._look_ups(), name="key look-ups")
        await self._changes.start()

    async def stop(self) -> None:
        await self._changes.stop()
        if self._looking_up is not None:
            self._looking_up.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking_up
        self._answer(dict.fromkeys(self._waiting))

    async def listening(self) -> None:
        """Returns once changes are heard; until then an entry lives for its `ttl_s`, come what may."""
        await self._changes.connected.wait()

    async def caller(self, token: str) -> Caller:
        """Raises as `caller_of` does."""
        return await self.caller_of(hash_of(token))

    async def caller_of(self, hash: bytes | None) -> Caller:
        """By the hash of a token, None for what cannot be one of our keys.

        Raises Unauthenticated, OrgSuspended, UserSuspended; LedgerUnavailable where only the database could tell.
        """
        if hash is None:
            raise _incorrect()
        entry = self._remembered(hash) or await self._ask(hash)
        return _admit(entry, self._clock)

    def known(self, hash: bytes | None) -> Caller | None:
        """From memory alone; None: `caller_of` has to be asked. Raises as that does."""
        if hash is None:
            raise _incorrect()
        entry = self._remembered(hash)
        return None if entry is None else _admit(entry, self._clock)

    def is_new(self, hash: bytes | None) -> bool:
        """Whether only the database can tell whose it is, and never told this process that it is somebody's."""
        return hash is not None and hash not in self._seen and self._remembered(hash) is None

    def forget(self, hash: bytes) -> None:
        self._epoch += 1
        self._known.pop(hash, None)
        self._unknown.pop(hash, None)

    def forget_org(self, org_id: UUID) -> None:
        self._epoch += 1
        for hash in [hash for hash, entry in self._known.items() if entry.caller and entry.caller.org_id == org_id]:
            del self._known[hash]

    def flush(self) -> None:
        self._epoch += 1
        self._known.clear()
        self._unknown.clear()

    def _hear(self, announcement: str) -> None:
        kind, _, id = announcement.partition(" ")
        try:
            match kind:
                case "key":
                    self.forget(bytes.fromhex(id))
                case "org":
                    self.forget_org(UUID(id))
                case _:
                    self.flush()
        except ValueError:
            self.flush()  # somebody else's words on our channel

    def _remembered(self, hash: bytes) -> _Entry | None:
        for cache in (self._known, self._unknown):
            entry = cache.get(hash)
            if entry is not None:
                if entry.stale_at_s > self._clock.monotonic():
                    cache.move_to_end(hash)
                    return entry
                del cache[hash]
        return None

    async def _ask(self, hash: bytes) -> _Entry:
        answer = self._waiting.get(hash)
        if answer is None:
            if len(self._waiting) >= self._settings.look_ups_waiting_max:
                raise LedgerUnavailable("Too many keys are waiting to be looked up; nothing was reserved or sent.")
            answer = self._waiting[hash] = asyncio.get_running_loop().create_future()
            self._wanted.set()
        # Shielded, because others may wait for the same answer when this caller goes away.
        entry = await asyncio.shield(answer)
        if entry is None:
            raise LedgerUnavailable("Keys cannot be looked up right now; nothing was reserved or sent.")
        return entry

    async def _look_ups(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._waiting:
                hashes = list(self._waiting)[: self._settings.look_up_batch_max]
                epoch = self._epoch
                entries = await self._fetch(hashes)
                if entries is None:
                    # Everyone who waits hears it now, instead of each batch after a time-out of its own.
                    self._answer(dict.fromkeys(self._waiting))
                    continue
                for hash, entry in entries.items():
                    self._see(hash, entry)
                    if epoch == self._epoch:
                        self._remember(hash, entry)
                self._answer(entries)

    def _answer(self, entries: Mapping[bytes, _Entry | None]) -> None:
        for hash, entry in entries.items():
            answer = self._waiting.pop(hash)
            if not answer.done():
                answer.set_result(entry)

    async def _fetch(self, hashes: list[bytes]) -> dict[bytes, _Entry] | None:
        """None where the database did not answer."""
        timeout_s = self._settings.look_up_timeout_s
        try:
            # The pool's own time limit too: it bounds what giving a broken connection back may take.
            async with asyncio.timeout(timeout_s), self._pool.acquire(timeout=timeout_s) as connection:
                rows = await connection.fetch(_SQL.find_callers, hashes)
        except Exception as error:  # Where the loop goes on: should it end, every unknown key would wait for ever.
            if not is_outage(error):
                log.exception("keys.look_up_failed")
            return None
        now_s = self._clock.monotonic()
        nobody = _Entry(caller=None, stale_at_s=now_s + self._settings.unknown_ttl_s)
        entries = dict.fromkeys(hashes, nobody)
        for row in rows:
            entries[row["hash"]] = _entry(row, stale_at_s=now_s + self._settings.ttl_s)
        return entries

    def _see(self, hash: bytes, entry: _Entry) -> None:
        if entry.caller is None:
            self._seen.pop(hash, None)
            return
        self._seen[hash] = None
        self._seen.move_to_end(hash)
        if len(self._seen) > self._settings.keys_max:
            self._seen.popitem(last=False)

    def _remember(self, hash: bytes, entry: _Entry) -> None:
        cache, entries_max = (
            (self._unknown, self._settings.unknown_max)
            if entry.caller is None
            else (self._known, self._settings.keys_max)
        )
        cache[hash] = entry
        while len(cache) > entries_max:
            cache.popitem(last=False)


def _entry(row: asyncpg.Record, *, stale_at_s: float) -> _Entry:
    return _Entry(
        caller=Caller(
            org_id=row["org_id"],
            org_name=row["org_name"],
            key_id=row["key_id"],
            key_name=row["key_name"],
            kind=KeyKind(row["kind"]),
            ip_allow=None if row["ip_allow"] is None else tuple(map(network_of, row["ip_allow"])),
            user_id=row["user_id"],
            models=None if row["models"] is None else frozenset(row["models"]),
            expires_at=row["expires_at"],
            accounts=msgspec.json.decode(row["accounts"], type=tuple[PayingAccount, ...]),
            payment_order=row["payment_order"],
            unsupported_fields=row["unsupported_fields"],
            plan_id=row["plan_id"],
        ),
        suspended=row["org_status"] == OrgStatus.SUSPENDED,
        suspended_user=row["user_name"] if row["user_status"] == "suspended" else None,
        revoked_at=row["revoked_at"],
        stale_at_s=stale_at_s,
    )


def _admit(entry: _Entry, clock: Clock) -> Caller:
    caller = entry.caller
    if caller is None:
        raise _incorrect()
    if entry.revoked_at is not None:
        raise Unauthenticated("This API key was revoked.")
    if caller.expires_at is not None and caller.expires_at <= clock.now():
        raise Unauthenticated(f"This API key expired at {caller.expires_at.isoformat(timespec='seconds')}.")
    if entry.suspended:
        raise OrgSuspended(f"The organisation {caller.org_name} is suspended; nothing was reserved or sent.")
    if entry.suspended_user is not None:
        raise UserSuspended(f"The user {entry.suspended_user} is suspended; nothing was reserved or sent.")
    return caller


def _incorrect() -> Unauthenticated:
    return Unauthenticated("Incorrect API key provided.")
