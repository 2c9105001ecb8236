"""/api/orgs/{org_id}/users/{user_id}: what is stored of a person, handed out and erased."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.caller import KeyKind
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.audit_log import EntryView, entry_view
from gateway.edge.api.credits import StandingView, standing
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.transactions import OpenView, open_view
from gateway.edge.requests import PAGE_ROWS_MAX
from gateway.identity.personal_data import Person, PersonsBudget, PersonsKey
from gateway.ledger.jobs import Job
from gateway.usage.transactions import Wanted

ACTS_MAX: Final = 1_000
JOBS_MAX: Final = 1_000


class PersonView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    external_id: str
    name: str
    email: str | None
    role: str
    status: str
    created_at: datetime
    erased_at: datetime | None


class PersonsKeyView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    kind: KeyKind
    prefix: str
    last_four: str | None
    models: list[str] | None
    ip_allow: list[str] | None
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime


class PersonsBudgetView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    period: str
    max_ucr: int | None
    max: str | None
    open_max: int | None
    created_at: datetime


class PersonsJobView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    kind: str
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None


class PersonalDataView(msgspec.Struct, frozen=True, kw_only=True):
    user: PersonView
    keys: list[PersonsKeyView]
    budgets: list[PersonsBudgetView]
    """Limits of their own."""
    allocation: StandingView | None
    reservations: list[OpenView]
    """What their calls hold now: the newest 200."""
    jobs: list[PersonsJobView]
    """Those that they opened: the newest 1,000."""
    transactions: str
    """Where all rows of their calls and their allocation are: a path of this API, CSV."""
    audit_log: list[EntryView]
    """What was done to them, their keys and their budgets, and what they and their keys did, the newest 1,000."""


@endpoint("GET", "/api/orgs/{org_id}/users/{user_id}/personal-data", needs=Right.WRITE_USERS)
async def personal_data(ask: Ask, org_id: UUID, user_id: UUID) -> PersonalDataView:
    """Everything that is stored of a person, or where it is found."""
    house = ask.house
    org = await house.orgs.get(ask.org(org_id))
    data = await house.people.data_of(org.org_id, user_id)
    account = await house.ledger.account(org.org_id, user_id)
    held = await house.transactions.open(org.org_id, Wanted(user_id=user_id), limit=PAGE_ROWS_MAX)
    jobs = await house.ledger.jobs.newest(org.org_id, opened_for=user_id, limit=JOBS_MAX)
    keys = [key.key_id for key in data.keys]
    acts = await house.audit_log.about(
        org.org_id,
        objects=[user_id, *keys, *(budget.budget_id for budget in data.budgets), *data.key_budget_ids],
        actors=[f"user:{user_id}", *(f"key:{key}" for key in keys)],
        limit=ACTS_MAX,
    )
    return PersonalDataView(
        user=_person(data.person),
        keys=[_key(key) for key in data.keys],
        budgets=[_budget(budget) for budget in data.budgets],
        allocation=None
        if account is None
        else StandingView(**standing(account.balance_ucr, account.held_ucr, account.receivable_ucr)),
        reservations=[open_view(one) for one in held],
        jobs=[_job(job) for job in jobs],
        transactions=f"/api/credits/export?organization_id={org.org_id}&user={user_id}",
        audit_log=[entry_view(entry) for entry in acts],
    )


@endpoint("POST", "/api/orgs/{org_id}/users/{user_id}/erase", needs=Right.WRITE_USERS)
async def erase(ask: Ask, org_id: UUID, user_id: UUID) -> PersonView:
    """Replaces what tells who a user is, for good, revokes their keys, and ends their quota and their jobs.

    Again changes nothing. Nobody is this user any more: they are not resumed, changed or given a key.

    Amounts stay where they are, under an id that nothing ties to a person any more. The audit log keeps what was
    written in it before, and shows it without what told who they were. Answers kept for idempotency keys are forgotten:
    whoever repeats a request that was about them is answered with 409.
    """
    org = await ask.house.orgs.get(ask.org(org_id))
    key = ask.idempotency(org.org_id, user_id)
    erased = await ask.house.people.erase(org.org_id, user_id, by=ask.origin, idempotency=key)
    # Not in the same transaction, since what a job holds ends account by account; who erases again goes on with it.
    await ask.house.ledger.jobs.end_all(org.org_id, opened_for=user_id, by=ask.origin)
    ask.replayed(erased.repeated)
    return _person(erased)


def _person(person: Person) -> PersonView:
    return PersonView(
        id=person.user_id,
        external_id=person.external_id,
        name=person.name,
        email=person.email,
        role=person.role,
        status=person.status,
        created_at=person.created_at,
        erased_at=person.erased_at,
    )


def _key(key: PersonsKey) -> PersonsKeyView:
    return PersonsKeyView(
        id=key.key_id,
        name=key.name,
        kind=key.kind,
        prefix=key.prefix,
        last_four=key.last_four,
        models=key.models,
        ip_allow=key.ip_allow,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        created_at=key.created_at,
    )


def _job(job: Job) -> PersonsJobView:
    return PersonsJobView(
        id=job.id, kind=job.kind, created_at=job.created_at, expires_at=job.expires_at, ended_at=job.ended_at
    )


def _budget(budget: PersonsBudget) -> PersonsBudgetView:
    return PersonsBudgetView(
        id=budget.budget_id,
        period=budget.period,
        max_ucr=budget.max_ucr,
        max=None if budget.max_ucr is None else credits_text(budget.max_ucr),
        open_max=budget.open_max,
        created_at=budget.created_at,
    )
