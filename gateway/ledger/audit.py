"""The audit: asks the database whether the books hold (README.md numbers the invariants) and parks what does not.

A parked account reserves nothing; its open calls are settled all the same. Parking by itself ends at a few accounts and
then only calls for a person, because a mistake in the audit must not stop everyone.
"""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Final
from uuid import UUID

import asyncpg
import msgspec
import structlog

from gateway.core.origin import Origin
from gateway.ledger.accounts import Executor
from gateway.ledger.options import LedgerSettings
from gateway.ops.metrics import Metrics
from gateway.postgres.queries import load

_SQL = load("audit")
_log = structlog.get_logger()
_FIRST: Final = UUID(int=0)
_PAGE_S: Final = 610.0
"""After what the database itself gives a page (queries/audit.sql)."""


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A breach of an invariant; `id` is the account, grant, reservation or ledger row that shows it."""

    invariant: int
    org_id: UUID
    account_id: UUID
    id: UUID
    detail: str


async def find_violations(executor: Executor, *, full: bool, accounts_at_once: int) -> AsyncIterator[list[Violation]]:
    """Page by page through all accounts, rows after each one's checkpoint or all of them. Moves the checkpoints.

    All are those after the account's closing, where months were archived.
    """
    at = (_FIRST, _FIRST)
    while rows := await _page(executor, *at, accounts_at_once, full):
        yield [Violation(**dict(row.items())) for row in rows if row["invariant"] is not None]
        at = (rows[-1]["org_id"], rows[-1]["account_id"])


async def _page(executor: Executor, *asked: object) -> list[asyncpg.Record]:
    held = executor.acquire() if isinstance(executor, asyncpg.Pool) else nullcontext(executor)
    async with held as connection, connection.transaction():
        await connection.execute(_SQL.take_time)
        return list(await connection.fetch(_SQL.audit_accounts, *asked, timeout=_PAGE_S))


class Audit:
    def __init__(self, *, pool: asyncpg.Pool, settings: LedgerSettings, metrics: Metrics) -> None:
        self._pool = pool
        self._settings = settings
        self._metrics = metrics

    async def run(self) -> None:
        """The periodic round: incremental; reports and parks."""
        await self.audit(full=False, park=True)

    async def audit(self, *, full: bool, park: bool) -> list[Violation]:
        found: list[Violation] = []
        async for page in find_violations(self._pool, full=full, accounts_at_once=self._settings.audit_accounts):
            found += page
            for violation in page:
                self._report(violation)
            if park:
                for org_id, account_id in {(v.org_id, v.account_id) for v in page}:
                    await self._park(org_id, account_id, {v.invariant for v in page if v.account_id == account_id})
        return found

    def _report(self, violation: Violation) -> None:
        self._metrics.violation_found(str(violation.invariant))
        _log.error(
            "ledger.violation",
            invariant=violation.invariant,
            org=str(violation.org_id),
            account=str(violation.account_id),
            id=str(violation.id),
            detail=violation.detail,
        )

    async def _park(self, org_id: UUID, account_id: UUID, broken: set[int]) -> None:
        by = Origin(actor="tollgate", reason=f"broken: invariant {', '.join(map(str, sorted(broken)))}")
        if await self._pool.fetchval(_SQL.park, org_id, account_id, self._settings.parked_max, by.row()):
            _log.error("ledger.account_parked", org=str(org_id), account=str(account_id))
        else:
            _log.error("ledger.account_not_parked", org=str(org_id), account=str(account_id))
