"""The door to what is done with credits beside calls. Each method is one operation of `operations.py`, on the pool.

It also tells the calls that wait for credits where some may have become free.
"""

from collections.abc import Callable
from uuid import UUID

import asyncpg

from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.ledger import deductions, operations
from gateway.ledger.deductions import Deducted, Deduction
from gateway.ledger.grants import Grant, GrantResult, add_grant
from gateway.ledger.operations import Changed, Closed, Refund, Taken, Transfer, Voided
from gateway.ledger.options import LedgerSettings
from gateway.postgres.outage import unavailable_in_outage


class Desk:
    """Every change says who makes it (`by`), and may bear an idempotency key beside its own id.

    All raise LedgerUnavailable while the database is away: then the outcome is not known, and the same id may be sent
    again.
    """

    def __init__(self, *, pool: asyncpg.Pool, settings: LedgerSettings, moved: Callable[[UUID], None]) -> None:
        self._pool = pool
        self._settings = settings
        self._moved = moved

    @unavailable_in_outage
    async def grant(self, grant: Grant, *, by: Origin, idempotency: Idempotency | None = None) -> GrantResult:
        """Credits of any kind come in. Raises InvalidRequest, NotFound, Conflict or IdempotencyMismatch."""
        made = await add_grant(self._pool, grant, by=by, idempotency=idempotency)
        self._moved(grant.account_id)
        return made

    @unavailable_in_outage
    async def take(
        self,
        org_id: UUID,
        account_id: UUID,
        *,
        id: UUID,
        amount_ucr: int,
        by: Origin,
        reason: str = "",
        note: str = "",
        idempotency: Idempotency | None = None,
    ) -> Taken:
        """Credits go out by hand, of what is available.

        Raises InvalidRequest, NotFound, Conflict or InsufficientCredits.
        """
        return await operations.take_credits(
            self._pool,
            org_id=org_id,
            account_id=account_id,
            id=id,
            amount_ucr=amount_ucr,
            reason=reason,
            note=note,
            by=by,
            idempotency=idempotency,
        )

    @unavailable_in_outage
    async def transfer(
        self,
        org_id: UUID,
        *,
        source_id: UUID,
        target_id: UUID,
        id: UUID,
        amount_ucr: int,
        by: Origin,
        note: str = "",
        idempotency: Idempotency | None = None,
    ) -> Transfer:
        """From one account of the organisation to another. Raises like `take`."""
        made = await operations.transfer(
            self._pool,
            org_id=org_id,
            source_id=source_id,
            target_id=target_id,
            id=id,
            amount_ucr=amount_ucr,
            note=note,
            by=by,
            idempotency=idempotency,
        )
        self._moved(target_id)
        return made

    @unavailable_in_outage
    async def refund(
        self,
        org_id: UUID,
        *,
        charge_id: UUID,
        id: UUID,
        by: Origin,
        amount_ucr: int | None = None,
        reason: str = "",
        note: str = "",
        idempotency: Idempotency | None = None,
    ) -> Refund:
        """All of a charge, or a part, goes back to where it was burned. Raises InvalidRequest, NotFound or Conflict."""
        made = await operations.refund(
            self._pool,
            org_id=org_id,
            charge_id=charge_id,
            id=id,
            amount_ucr=amount_ucr,
            reason=reason,
            note=note,
            by=by,
            idempotency=idempotency,
        )
        self._moved(made.account_id)
        return made

    @unavailable_in_outage
    async def void(
        self, org_id: UUID, grant_id: UUID, *, by: Origin, note: str = "", idempotency: Idempotency | None = None
    ) -> Voided:
        """A grant is taken back, but for what open reservations hold of it. Raises InvalidRequest or NotFound."""
        return await operations.void_grant(
            self._pool, org_id=org_id, grant_id=grant_id, note=note, by=by, idempotency=idempotency
        )

    @unavailable_in_outage
    async def deduct(
        self, org_id: UUID, deduction: Deduction, *, by: Origin, idempotency: Idempotency | None = None
    ) -> Deducted:
        """Charge for something that has a price of its own, whole or not at all.

        Raises InvalidRequest, NotFound, Conflict, InsufficientCredits, CreditsReserved or OrgSuspended.
        """
        return await deductions.deduct(
            self._pool,
            org_id,
            deduction,
            receivable_max_ucr=self._settings.receivable_max_ucr,
            by=by,
            idempotency=idempotency,
        )

    @unavailable_in_outage
    async def suspend(
        self, org_id: UUID, account_id: UUID, *, by: Origin, idempotency: Idempotency | None = None
    ) -> Changed:
        """It admits nothing new; what is open goes on. Raises NotFound or Conflict."""
        return await operations.set_account_status(
            self._pool, org_id=org_id, account_id=account_id, status="suspended", by=by, idempotency=idempotency
        )

    @unavailable_in_outage
    async def resume(
        self, org_id: UUID, account_id: UUID, *, by: Origin, idempotency: Idempotency | None = None
    ) -> Changed:
        """Raises NotFound or Conflict."""
        changed = await operations.set_account_status(
            self._pool, org_id=org_id, account_id=account_id, status="active", by=by, idempotency=idempotency
        )
        self._moved(account_id)
        return changed

    @unavailable_in_outage
    async def unpark(
        self, org_id: UUID, account_id: UUID, *, by: Origin, idempotency: Idempotency | None = None
    ) -> Changed:
        """A person has looked at the books that the audit found wrong. Raises NotFound."""
        changed = await operations.unpark_account(
            self._pool, org_id=org_id, account_id=account_id, by=by, idempotency=idempotency
        )
        self._moved(account_id)
        return changed

    @unavailable_in_outage
    async def close(
        self,
        org_id: UUID,
        account_id: UUID | None,
        *,
        by: Origin,
        forfeit: bool = False,
        idempotency: Idempotency | None = None,
    ) -> Closed:
        """One account, or with None all of the organisation's, for good. Raises NotFound or Conflict.

        What a user's account has left goes to the pool; anything else that is left must be forfeited.
        """
        closed = await operations.close_accounts(
            self._pool, org_id=org_id, account_id=account_id, forfeit=forfeit, by=by, idempotency=idempotency
        )
        self._moved(org_id)  # the pool bears the organisation's id
        return closed
