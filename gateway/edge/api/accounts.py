"""/api/orgs/{org_id}/accounts: what stands where, for what, and may it be used?

The pool bears the org's id, an allocation the user's. Those for some models or features alone are opened here.
"""

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.errors import Conflict
from gateway.core.idempotency import Idempotency
from gateway.core.payment_order import AccountKind
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.credits import StandingView, standing
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.etag import etag, if_match
from gateway.edge.api.keys import ModelName
from gateway.edge.api.priced import Word
from gateway.edge.api.subject import own_id
from gateway.edge.api.ways import Way, Ways
from gateway.edge.requests import Limit, Line, Offset, Page
from gateway.ledger.operations import Changed
from gateway.ledger.restricted import NAMES_MAX, AccountState, AccountStatus, Terms, TermsChange

Models = Annotated[list[ModelName], msgspec.Meta(min_length=1, max_length=NAMES_MAX)]
Features = Annotated[list[Word], msgspec.Meta(min_length=1, max_length=NAMES_MAX)]


class NewAccount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pays for calls of its models and for its features, and for nothing else; at least one of the two is given."""

    ways: ClassVar[Ways] = (
        Way(needs=("models",), without=("features",)),
        Way(needs=("features",), without=("models",)),
        Way(needs=("models", "features")),
    )
    name: Line
    models: Models | None = None
    features: Features | None = None


class ChangedAccount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays; null: none of that kind."""

    name: Line | msgspec.UnsetType = msgspec.UNSET
    models: Models | msgspec.UnsetType | None = msgspec.UNSET
    features: Features | msgspec.UnsetType | None = msgspec.UNSET


class Closing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    forfeit: bool = False
    """What is left is given up. A user's account needs none: what it has goes back to the pool."""


class AccountQuery(Page, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: AccountKind | None = None
    """Only those of this kind."""
    status: AccountStatus | None = None
    """Only those that are so."""


class AccountView(StandingView, frozen=True, kw_only=True):
    id: UUID
    organization_id: UUID


class AccountStateView(AccountView, frozen=True, kw_only=True):
    kind: AccountKind
    """`pool`: the organisation's own; `user`: an allocation; `restricted`: for some models or features alone."""
    user_id: UUID | None
    """Whose allocation it is."""
    name: str | None
    models: tuple[str, ...] | None
    features: tuple[str, ...] | None
    status: AccountStatus
    parked: bool
    """It admits nothing until a person has looked at books that the audit found wrong."""
    open_count: int
    """Calls and reservations that hold credits of it."""
    granted_ucr: int
    """Since it was opened; so is what was used."""
    granted: str
    used_ucr: int
    used: str
    created_at: datetime


class AccountPage(msgspec.Struct, frozen=True, kw_only=True):
    data: list[AccountStateView]
    total: int
    limit: Limit
    offset: Offset


class ClosedView(msgspec.Struct, frozen=True, kw_only=True):
    closed: tuple[UUID, ...]


_PATH = "/api/orgs/{org_id}/accounts"
_ONE = f"{_PATH}/{{account_id}}"


@endpoint("GET", _PATH, needs=Right.READ_CREDITS, own_without=Right.READ_ALL_CREDITS)
async def page(ask: Ask, org_id: UUID, query: AccountQuery) -> AccountPage:
    """Accounts in the order of their ids, closed ones included, with what each has."""
    org = await ask.house.orgs.get(ask.org(org_id))
    await ask.house.ledger.settled(org.org_id)
    found, total = await ask.house.ledger.restricted.page(
        org.org_id,
        limit=query.limit,
        offset=query.offset,
        kind=query.kind,
        status=query.status,
        seen_by=own_id(ask),
    )
    return AccountPage(data=[_view(one) for one in found], total=total, limit=query.limit, offset=query.offset)


@endpoint("GET", _ONE, needs=Right.READ_CREDITS, own_without=Right.READ_ALL_CREDITS, tagged=True)
async def get(ask: Ask, org_id: UUID, account_id: UUID) -> AccountStateView:
    """One account. Its `ETag` is of what it is for and whether it may be used, whatever it has."""
    org_id = ask.org(org_id)
    await ask.house.ledger.settled(org_id)
    found = await ask.house.ledger.restricted.get(org_id, account_id, seen_by=own_id(ask))
    ask.headers["etag"] = etag(found.terms)
    return _view(found)


@endpoint("POST", _PATH, needs=Right.WRITE_LIMITS, status=201, tagged=True)
async def open_(ask: Ask, org_id: UUID, body: NewAccount) -> AccountStateView:
    """An empty account that pays for some models or features alone, and for those before all others.

    Credits come into it with credits/add or a transfer, and leave it by being used: a restricted account only receives.
    An organisation has at most 100 that are not closed.
    """
    org_id = ask.org(org_id)
    made = await ask.house.ledger.restricted.open(
        org_id,
        ask.house.ids.next(),
        name=body.name,
        models=body.models,
        features=body.features,
        by=ask.origin,
        idempotency=ask.idempotency(org_id, body),
    )
    return await _made(ask, made)


@endpoint("PATCH", _ONE, needs=Right.WRITE_LIMITS, tagged=True, versioned=True)
async def change(ask: Ask, org_id: UUID, account_id: UUID, body: ChangedAccount) -> AccountStateView:
    """Another name of a restricted account, or other models or features, from the next reservation on.

    What is left out stays; null takes all models, or all features, out, and one of the two must remain. With If-Match
    only where nobody changed it in between: else 412.
    """
    org_id = ask.org(org_id)
    made = await ask.house.ledger.restricted.change(
        org_id,
        account_id,
        TermsChange(
            name=body.name,
            models=tuple(body.models) if isinstance(body.models, list) else body.models,
            features=tuple(body.features) if isinstance(body.features, list) else body.features,
        ),
        by=ask.origin,
        idempotency=ask.idempotency(org_id, account_id, body),
        guard=if_match(ask, what="account"),
    )
    return await _made(ask, made)


@endpoint("DELETE", _ONE, needs=Right.WRITE_LIMITS)
async def delete(ask: Ask, org_id: UUID, account_id: UUID) -> ClosedView:
    """Closes a restricted account that has nothing left, for good.

    Refused with 409 while it has credits, reservations are open or something is owed. The operator's `close` is for
    every account, and can give up what is left.
    """
    org_id = ask.org(org_id)
    key = ask.idempotency(org_id, account_id)
    found = await ask.house.ledger.restricted.get(org_id, account_id)
    if found.terms.kind != "restricted":
        raise Conflict("It is no restricted account; nothing was closed.")
    return await _closed(ask, org_id, account_id, forfeit=False, key=key)


@endpoint("POST", f"{_ONE}/suspend", needs=Right.WRITE_ORGS)
async def suspend(ask: Ask, org_id: UUID, account_id: UUID) -> AccountView:
    """It admits nothing new; what is open goes on. Again changes nothing."""
    key = ask.idempotency(org_id, account_id)
    made = await ask.house.ledger.desk.suspend(ask.org(org_id), account_id, by=ask.origin, idempotency=key)
    return _answered(ask, org_id, account_id, made)


@endpoint("POST", f"{_ONE}/resume", needs=Right.WRITE_ORGS)
async def resume(ask: Ask, org_id: UUID, account_id: UUID) -> AccountView:
    """It pays again. Again changes nothing."""
    key = ask.idempotency(org_id, account_id)
    made = await ask.house.ledger.desk.resume(ask.org(org_id), account_id, by=ask.origin, idempotency=key)
    return _answered(ask, org_id, account_id, made)


@endpoint("POST", f"{_ONE}/unpark", needs=Right.WRITE_ORGS)
async def unpark(ask: Ask, org_id: UUID, account_id: UUID) -> AccountView:
    """A person has looked at the books that the audit found wrong: it pays again."""
    key = ask.idempotency(org_id, account_id)
    made = await ask.house.ledger.desk.unpark(ask.org(org_id), account_id, by=ask.origin, idempotency=key)
    return _answered(ask, org_id, account_id, made)


@endpoint("POST", f"{_ONE}/close", needs=Right.WRITE_ORGS)
async def close(ask: Ask, org_id: UUID, account_id: UUID, body: Closing) -> ClosedView:
    """For good. Refused with 409 while reservations are open, credits are owed, or what is left is not forfeited."""
    key = ask.idempotency(org_id, account_id, body)
    return await _closed(ask, ask.org(org_id), account_id, forfeit=body.forfeit, key=key)


async def _closed(ask: Ask, org_id: UUID, account_id: UUID, *, forfeit: bool, key: Idempotency | None) -> ClosedView:
    made = await ask.house.ledger.desk.close(org_id, account_id, forfeit=forfeit, by=ask.origin, idempotency=key)
    ask.house.key_ring.forget_org(org_id)
    ask.replayed(made.repeated)
    return ClosedView(closed=made.closed)


async def _made(ask: Ask, made: Terms) -> AccountStateView:
    """As it was changed, with what it has now."""
    ask.house.key_ring.forget_org(made.org_id)
    ask.replayed(made.repeated)
    ask.headers["etag"] = etag(made)
    found = await ask.house.ledger.restricted.get(made.org_id, made.account_id)
    return _view(AccountState(made, found.balance))


def _view(found: AccountState) -> AccountStateView:
    terms, balance = found.terms, found.balance
    return AccountStateView(
        id=terms.account_id,
        organization_id=terms.org_id,
        kind=terms.kind,
        user_id=terms.user_id,
        name=terms.name,
        models=terms.models,
        features=terms.features,
        status=terms.status,
        parked=terms.is_parked,
        open_count=balance.open_count,
        granted_ucr=balance.granted_ucr,
        granted=credits_text(balance.granted_ucr),
        used_ucr=balance.used_ucr,
        used=credits_text(balance.used_ucr),
        created_at=terms.created_at,
        **standing(balance.balance_ucr, balance.held_ucr, balance.receivable_ucr),
    )


def _answered(ask: Ask, org_id: UUID, account_id: UUID, made: Changed) -> AccountView:
    # `repeated` is also what was so already; that is no replay, but it changed as little.
    ask.house.key_ring.forget_org(org_id)
    return AccountView(
        id=account_id,
        organization_id=org_id,
        **standing(made.balance_ucr, made.held_ucr, made.receivable_ucr),
    )
