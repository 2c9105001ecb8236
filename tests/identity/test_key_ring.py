"""The key ring admits whom the database would, forgets what changed, and in an outage believes only what is fresh."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from gateway.core.errors import LedgerUnavailable, OrgSuspended, Unauthenticated
from gateway.identity.key_ring import KeyRing, KeyRingSettings
from gateway.identity.keys import Keys, new_token
from gateway.identity.orgs import Org, Orgs
from gateway.ledger.accounts import open_account
from gateway.ops.clock import Clock
from tests.fakes.clock import START, SteppedClock
from tests.identity.conftest import RingMaker
from tests.postgres.outage import Outage

LASTING = KeyRingSettings(ttl_s=3600, unknown_ttl_s=3600, ping_s=3600, reconnect_s=0.01)
UNKNOWN = new_token()
FLEETING = KeyRingSettings(ttl_s=0, unknown_ttl_s=0, reconnect_s=0.01)


class CountingPool:
    """The real pool, with the number of hashes of each look-up; `hold` keeps look-ups waiting."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.look_ups: list[int] = []
        self.open = asyncio.Event()
        self.open.set()

    @contextlib.asynccontextmanager
    async def acquire(self, *, timeout: float) -> AsyncIterator["CountingPool"]:
        yield self

    async def fetch(self, query: str, hashes: list[bytes]) -> Any:
        self.look_ups.append(len(hashes))
        rows = await self._pool.fetch(query, hashes)
        await self.open.wait()
        return rows


@pytest.fixture
def counting(pool: asyncpg.Pool) -> CountingPool:
    return CountingPool(pool)


@contextlib.asynccontextmanager
async def ring_on(
    pool: object, dsn: str, settings: KeyRingSettings, clock: Clock | None = None
) -> AsyncIterator[KeyRing]:
    ring = KeyRing(pool, dsn=dsn, clock=clock or Clock(), settings=settings)  # type: ignore[arg-type]
    await ring.start()
    try:
        await asyncio.wait_for(ring.listening(), 5)
        yield ring
    finally:
        await ring.stop()


@pytest.fixture
async def org(orgs: Orgs) -> Org:
    return await orgs.create("Acme")


async def refused(ring: KeyRing, token: str, error: type[Exception]) -> None:
    """Returns once the ring refuses the token: a notification takes a moment to arrive."""
    async with asyncio.timeout(5):
        while True:
            try:
                await ring.caller(token)
            except error:
                return
            await asyncio.sleep(0)


async def test_a_key_is_known_with_all_that_later_steps_need(
    make_ring: RingMaker, keys: Keys, org: Org, pool: asyncpg.Pool
) -> None:
    await open_account(pool, org.org_id, org.account_id)
    key, token = await keys.create(org.org_id, name="web", models=("a", "b"))
    caller = await (await make_ring(LASTING)).caller(token)
    assert (caller.org_id, caller.org_name, caller.payers(model="m")) == (org.org_id, "Acme", (org.account_id,))
    assert (caller.key_id, caller.key_name, caller.user_id) == (key.key_id, "web", None)
    assert caller.may_use("a")
    assert not caller.may_use("c")


@pytest.mark.parametrize("token", ["", "tg-short", "sk-" + "a" * 43, "tg-" + "é" * 43])
async def test_what_is_no_key_costs_no_look_up(token: str, counting: CountingPool, dsn: str) -> None:
    async with ring_on(counting, dsn, LASTING) as ring:
        with pytest.raises(Unauthenticated):
            await ring.caller(token)
    assert counting.look_ups == []


async def test_an_unknown_key_is_looked_up_once_and_remembered(counting: CountingPool, dsn: str) -> None:
    token = new_token()
    async with ring_on(counting, dsn, LASTING) as ring:
        for _ in range(3):
            with pytest.raises(Unauthenticated):
                await ring.caller(token)
    assert counting.look_ups == [1]


async def test_a_key_seen_lately_is_not_looked_up_again(counting: CountingPool, dsn: str, keys: Keys, org: Org) -> None:
    _, token = await keys.create(org.org_id, name="web")
    async with ring_on(counting, dsn, LASTING) as ring:
        for _ in range(3):
            await ring.caller(token)
    assert counting.look_ups == [1]


async def test_an_entry_is_believed_for_its_time_and_then_looked_up_again(
    counting: CountingPool, dsn: str, keys: Keys, org: Org
) -> None:
    clock = SteppedClock()
    _, token = await keys.create(org.org_id, name="web")
    async with ring_on(counting, dsn, KeyRingSettings(ttl_s=30, unknown_ttl_s=10), clock) as ring:
        for step_s, look_ups in ((0, 1), (29.9, 1), (0.2, 2), (29.9, 2)):
            clock.step(step_s)
            await ring.caller(token)
            assert len(counting.look_ups) == look_ups
        for step_s, look_ups in ((0, 3), (9.9, 3), (0.2, 4)):
            clock.step(step_s)
            with pytest.raises(Unauthenticated):
                await ring.caller(UNKNOWN)
            assert len(counting.look_ups) == look_ups


async def test_simultaneous_misses_of_one_key_share_one_look_up(
    counting: CountingPool, dsn: str, keys: Keys, org: Org
) -> None:
    _, token = await keys.create(org.org_id, name="web")
    async with ring_on(counting, dsn, LASTING) as ring:
        callers = await asyncio.gather(*(ring.caller(token) for _ in range(50)))
    assert len(set(map(id, callers))) == 1
    assert counting.look_ups == [1]


async def test_misses_during_a_look_up_share_the_next(counting: CountingPool, dsn: str) -> None:
    counting.open.clear()
    async with ring_on(counting, dsn, LASTING) as ring:
        asks = [asyncio.ensure_future(ring.caller(new_token()))]
        while not counting.look_ups:
            await asyncio.sleep(0)
        asks += [asyncio.ensure_future(ring.caller(new_token())) for _ in range(40)]
        await asyncio.sleep(0)
        counting.open.set()
        answers = await asyncio.gather(*asks, return_exceptions=True)
    assert {type(answer) for answer in answers} == {Unauthenticated}
    assert counting.look_ups == [1, 40]


async def test_a_caller_that_goes_away_takes_nobody_with_it(
    counting: CountingPool, dsn: str, keys: Keys, org: Org
) -> None:
    _, token = await keys.create(org.org_id, name="web")
    counting.open.clear()
    async with ring_on(counting, dsn, LASTING) as ring:
        leaving, staying = (asyncio.ensure_future(ring.caller(token)) for _ in range(2))
        while not counting.look_ups:
            await asyncio.sleep(0)
        leaving.cancel()
        counting.open.set()
        assert (await staying).key_name == "web"
        assert leaving.cancelled()


async def test_more_look_ups_than_may_wait_are_refused(counting: CountingPool, dsn: str) -> None:
    counting.open.clear()
    async with ring_on(counting, dsn, KeyRingSettings(look_ups_waiting_max=2)) as ring:
        waiting = [asyncio.ensure_future(ring.caller(new_token())) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(LedgerUnavailable):
            await ring.caller(new_token())
        counting.open.set()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_unknown_keys_do_not_push_out_known_ones(counting: CountingPool, dsn: str, keys: Keys, org: Org) -> None:
    _, token = await keys.create(org.org_id, name="web")
    async with ring_on(counting, dsn, KeyRingSettings(keys_max=1, unknown_max=2)) as ring:
        await ring.caller(token)
        await asyncio.gather(*(ring.caller(new_token()) for _ in range(20)), return_exceptions=True)
        counting.look_ups.clear()
        await ring.caller(token)
    assert counting.look_ups == []


async def test_the_key_unused_for_longest_is_forgotten_first(
    counting: CountingPool, dsn: str, keys: Keys, org: Org
) -> None:
    first, second, third = [(await keys.create(org.org_id, name=name))[1] for name in "abc"]
    async with ring_on(counting, dsn, KeyRingSettings(keys_max=2)) as ring:
        for token in (first, second, first, third):
            await ring.caller(token)
        counting.look_ups.clear()
        await ring.caller(first)
        assert counting.look_ups == []
        await ring.caller(second)
        assert counting.look_ups == [1]


async def test_an_expired_key_is_refused_although_it_is_remembered(
    counting: CountingPool, dsn: str, keys: Keys, org: Org
) -> None:
    clock = SteppedClock()
    _, token = await keys.create(org.org_id, name="web", expires_at=START + timedelta(seconds=10))
    async with ring_on(counting, dsn, LASTING, clock) as ring:
        await ring.caller(token)
        clock.step(9.999)
        await ring.caller(token)
        clock.step(0.001)
        with pytest.raises(Unauthenticated, match="expired at 2026-01-02T03:04:15"):
            await ring.caller(token)
    assert counting.look_ups == [1]


async def test_a_revocation_by_any_process_is_heard(dsn: str, pool: asyncpg.Pool, keys: Keys, org: Org) -> None:
    key, token = await keys.create(org.org_id, name="web")
    async with ring_on(pool, dsn, LASTING) as ring:
        await ring.caller(token)
        await keys.revoke(org.org_id, key.key_id)
        await refused(ring, token, Unauthenticated)
        with pytest.raises(Unauthenticated, match="revoked"):
            await ring.caller(token)


async def test_a_suspension_is_heard_and_so_is_its_end(
    dsn: str, pool: asyncpg.Pool, keys: Keys, orgs: Orgs, org: Org
) -> None:
    _, token = await keys.create(org.org_id, name="web")
    _, of_others = await keys.create((await orgs.create("other")).org_id, name="web")
    async with ring_on(pool, dsn, LASTING) as ring:
        await ring.caller(token)
        await orgs.suspend(org.org_id)
        await refused(ring, token, OrgSuspended)
        assert (await ring.caller(of_others)).org_name == "other"
        await orgs.resume(org.org_id)
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(OrgSuspended):
                    await ring.caller(token)
                    break
                await asyncio.sleep(0)


async def test_an_answer_that_a_change_overtook_is_not_kept(
    counting: CountingPool, dsn: str, keys: Keys, org: Org
) -> None:
    key, token = await keys.create(org.org_id, name="web")
    async with ring_on(counting, dsn, LASTING) as ring:
        counting.open.clear()
        ask = asyncio.ensure_future(ring.caller(token))
        while not counting.look_ups:
            await asyncio.sleep(0)
        await keys.revoke(org.org_id, key.key_id)
        ring.flush()
        counting.open.set()
        with contextlib.suppress(Unauthenticated):
            await ask
        with pytest.raises(Unauthenticated, match="revoked"):
            await ring.caller(token)


async def test_what_was_announced_while_nobody_listened_is_made_good_on_reconnecting(
    dsn: str, pool: asyncpg.Pool, keys: Keys, org: Org, outage: Outage, owner: asyncpg.Connection
) -> None:
    key, token = await keys.create(org.org_id, name="web")
    async with ring_on(pool, dsn, LASTING) as ring:
        await ring.caller(token)
        await owner.execute("ALTER TABLE api_key DISABLE TRIGGER api_key_changed")
        await keys.revoke(org.org_id, key.key_id)
        assert (await ring.caller(token)).key_id == key.key_id
        await outage.cut()
        await refused(ring, token, Unauthenticated)


async def test_during_an_outage_a_fresh_entry_is_believed_and_an_unknown_key_is_not_let_in(
    dsn: str, pool: asyncpg.Pool, keys: Keys, org: Org, outage: Outage
) -> None:
    _, token = await keys.create(org.org_id, name="web")
    _, unseen = await keys.create(org.org_id, name="unseen")
    async with ring_on(pool, dsn, LASTING) as ring:
        await ring.caller(token)
        await outage.begin()
        assert (await ring.caller(token)).key_name == "web"
        with pytest.raises(LedgerUnavailable):
            await ring.caller(unseen)
        with pytest.raises(LedgerUnavailable):
            await ring.caller(new_token())
        await outage.end()
        assert (await ring.caller(unseen)).key_name == "unseen"


async def test_during_an_outage_a_stale_entry_is_not_believed(
    dsn: str, pool: asyncpg.Pool, keys: Keys, org: Org, outage: Outage
) -> None:
    _, token = await keys.create(org.org_id, name="web")
    async with ring_on(pool, dsn, FLEETING) as ring:
        await ring.caller(token)
        await outage.begin()
        with pytest.raises(LedgerUnavailable):
            await ring.caller(token)


async def test_a_ring_that_stops_answers_who_waits(counting: CountingPool, dsn: str) -> None:
    counting.open.clear()
    async with ring_on(counting, dsn, LASTING) as ring:
        ask = asyncio.ensure_future(ring.caller(new_token()))
        while not counting.look_ups:
            await asyncio.sleep(0)
    with pytest.raises(LedgerUnavailable):
        await ask


async def test_look_ups_outlive_an_error_that_nobody_foresaw(
    counting: CountingPool, dsn: str, keys: Keys, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError

    _, token = await keys.create(org.org_id, name="web")
    async with ring_on(counting, dsn, LASTING) as ring:
        with monkeypatch.context() as patched:
            patched.setattr(counting, "fetch", fail)
            with pytest.raises(LedgerUnavailable):
                await ring.caller(token)
        assert (await ring.caller(token)).key_name == "web"
