"""/api/orgs/{org_id}/accounts: may an account be used? The pool bears the org's id, an allocation the user's."""

from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.edge.api.ask import Ask
from gateway.edge.api.credits import StandingView, standing
from gateway.edge.api.endpoint import endpoint
from gateway.ledger.operations import Changed


class Closing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    forfeit: bool = False
    """What is left is given up. A user's account needs none: what it has goes back to the pool."""


class AccountView(StandingView, frozen=True, kw_only=True):
    id: UUID
    organization_id: UUID


class ClosedView(msgspec.Struct, frozen=True, kw_only=True):
    closed: tuple[UUID, ...]


@endpoint("POST", "/api/orgs/{org_id}/accounts/{account_id}/suspend", needs=Right.WRITE_ORGS)
async def suspend(ask: Ask, org_id: UUID, account_id: UUID) -> AccountView:
    """It admits nothing new; what is open goes on. Again changes nothing."""
    key = ask.idempotency(org_id, account_id)
    made = await ask.house.ledger.desk.suspend(ask.org(org_id), account_id, by=ask.origin, idempotency=key)
    return _answered(ask, org_id, account_id, made)


@endpoint("POST", "/api/orgs/{org_id}/accounts/{account_id}/resume", needs=Right.WRITE_ORGS)
async def resume(ask: Ask, org_id: UUID, account_id: UUID) -> AccountView:
    """It pays again. Again changes nothing."""
    key = ask.idempotency(org_id, account_id)
    made = await ask.house.ledger.desk.resume(ask.org(org_id), account_id, by=ask.origin, idempotency=key)
    return _answered(ask, org_id, account_id, made)


@endpoint("POST", "/api/orgs/{org_id}/accounts/{account_id}/unpark", needs=Right.WRITE_ORGS)
async def unpark(ask: Ask, org_id: UUID, account_id: UUID) -> AccountView:
    """A person has looked at the books that the audit found wrong: it pays again."""
    key = ask.idempotency(org_id, account_id)
    made = await ask.house.ledger.desk.unpark(ask.org(org_id), account_id, by=ask.origin, idempotency=key)
    return _answered(ask, org_id, account_id, made)


@endpoint("POST", "/api/orgs/{org_id}/accounts/{account_id}/close", needs=Right.WRITE_ORGS)
async def close(ask: Ask, org_id: UUID, account_id: UUID, body: Closing) -> ClosedView:
    """For good. Refused with 409 while reservations are open, credits are owed, or what is left is not forfeited."""
    key = ask.idempotency(org_id, account_id, body)
    made = await ask.house.ledger.desk.close(
        ask.org(org_id), account_id, forfeit=body.forfeit, by=ask.origin, idempotency=key
    )
    ask.house.key_ring.forget_org(org_id)
    ask.replayed(made.repeated)
    return ClosedView(closed=made.closed)


def _answered(ask: Ask, org_id: UUID, account_id: UUID, made: Changed) -> AccountView:
    # `repeated` is also what was so already; that is no replay, but it changed as little.
    ask.house.key_ring.forget_org(org_id)
    return AccountView(
        id=account_id,
        organization_id=org_id,
        **standing(made.balance_ucr, made.held_ucr, made.receivable_ucr),
    )
