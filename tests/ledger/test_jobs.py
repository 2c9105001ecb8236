"""Jobs own reservations until they are ended, by the gateway or by their time; no process's death ends them."""

import asyncpg
import pytest

from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.ledger.owned import OwnedWish, Owner
from tests.ledger.conftest import Bench


async def test_a_job_holds_and_settles_its_own(bench: Bench) -> None:
    await bench.grant(100)
    job, jobs, owned = bench.ids.next(), bench.ledger.jobs, bench.ledger.owned
    made = await jobs.open(bench.org_id, job, kind="batch", detail=b'{"upstream_id": "b-1"}', life_s=3_600)
    assert (await jobs.open(bench.org_id, job, kind="batch", detail=b'{"upstream_id": "b-1"}', life_s=3_600)).repeated
    with pytest.raises(Conflict):
        await jobs.open(bench.org_id, job, kind="other", life_s=3_600)
    mine = Owner.job(bench.org_id, job)
    wishes = [OwnedWish(id=bench.ids.next(), account_ids=(bench.account_id,), amount_ucr=30) for _ in range(3)]
    first, second, third = await owned.reserve(mine, wishes, life_s=86_400, by=None)
    assert first.expires_at == made.expires_at  # never longer than the job
    await bench.ledger.sweeper.fence_all_others()
    await bench.ledger.sweeper.end_orphans()
    await owned.settle(mine, first.id, cost_ucr=10, by=None)
    await owned.extend(mine, second.id, at_least_ucr=0, spent_ucr=4, by=None)
    ended, count = await jobs.end(bench.org_id, job)
    again, none = await jobs.end(bench.org_id, job)
    assert (count, none, again.ended_at) == (2, 0, ended.ended_at)
    assert await bench.numbers() == (86, 0, 0)
    with pytest.raises(NotFound, match="nothing was reserved"):
        await owned.reserve(
            mine, [OwnedWish(id=bench.ids.next(), account_ids=(bench.account_id,), amount_ucr=1)], by=None
        )
    # The real cost still comes, once.
    for _ in range(2):
        assert (await owned.settle(mine, third.id, cost_ucr=6, by=None)).charged_ucr == 6
    assert await bench.numbers() == (80, 0, 0)


async def test_a_job_whose_time_is_over_ends_with_what_it_holds(bench: Bench, owner: asyncpg.Connection) -> None:
    await bench.grant(100)
    job = bench.ids.next()
    await bench.ledger.jobs.open(bench.org_id, job, kind="batch", life_s=3_600)
    held = OwnedWish(id=bench.ids.next(), account_ids=(bench.account_id,), amount_ucr=30)
    await bench.ledger.owned.reserve(Owner.job(bench.org_id, job), [held], by=None)
    await owner.execute(
        "UPDATE job SET created_at = now() - interval '1 day', expires_at = clock_timestamp() WHERE id = $1", job
    )
    with pytest.raises(NotFound):
        await bench.ledger.owned.reserve(Owner.job(bench.org_id, job), [held], by=None)
    await bench.ledger.owned.expire_due()
    assert await bench.numbers() == (100, 0, 0)


async def test_jobs_that_make_no_sense_are_refused(bench: Bench) -> None:
    jobs = bench.ledger.jobs
    for life_s in (0.0, -1.0, 5e-324, 1e9):
        with pytest.raises(InvalidRequest):
            await jobs.open(bench.org_id, bench.ids.next(), kind="batch", life_s=life_s)
    for kind in ("", "x" * 65):
        with pytest.raises(InvalidRequest):
            await jobs.open(bench.org_id, bench.ids.next(), kind=kind, life_s=1)
    for detail in (b"{", b'"\\u0000"', b'"%s"' % (b"x" * 65_536)):
        with pytest.raises(InvalidRequest, match="detail"):
            await jobs.open(bench.org_id, bench.ids.next(), kind="batch", detail=detail, life_s=1)
    with pytest.raises(NotFound):
        await jobs.end(bench.org_id, bench.ids.next())
