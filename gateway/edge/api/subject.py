"""Who is meant by a request about credits: an organisation, one of its people, and the accounts that pay for them."""

from typing import Annotated
from uuid import UUID, uuid5

import msgspec

from gateway.core.access import Right
from gateway.core.errors import Forbidden
from gateway.edge.api.ask import Ask
from gateway.ledger.jobs import Job
from gateway.ledger.owned import Owner, OwnerKind

UserId = Annotated[
    UUID | None,
    msgspec.Meta(
        description="In whose name: their allocation and the pool pay as the policy says. Left out, the pool pays; a "
        "member, and a key of a user, mean themselves."
    ),
]

JobId = Annotated[
    UUID | None,
    msgspec.Meta(description="The job that owns it, or is to own it; left out, whoever asks does."),
]


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    org_id: UUID
    user_id: UUID | None
    key_id: UUID | None


def subject_of(ask: Ask, organization_id: UUID | None, user_id: UUID | None) -> Subject:
    """Raises InvalidRequest, NotFound, or Forbidden where a member speaks for somebody else."""
    org_id = ask.org(organization_id)
    if acts_for_themselves(ask):
        if user_id not in (None, ask.principal.user_id):
            raise Forbidden("A member acts in their own name alone; nothing was changed.")
        user_id = ask.principal.user_id
    return Subject(org_id=org_id, user_id=user_id, key_id=ask.principal.key_id)


def owner_of(ask: Ask, org_id: UUID) -> Owner:
    """Whose reservations somebody may see and end: a member's are their own, all others are the organisation's."""
    if not acts_for_themselves(ask):
        return Owner(org_id, OwnerKind.API, org_id)
    # Who is no user here, and comes in on a token's word, is somebody all the same.
    return Owner(org_id, OwnerKind.API, ask.principal.user_id or uuid5(org_id, ask.principal.actor))


async def owner_or_job(ask: Ask, org_id: UUID, job_id: UUID | None) -> tuple[Owner, Job | None]:
    """As `owner_of`, or one of their jobs. Raises NotFound where they have no such job."""
    own = owner_of(ask, org_id)
    if job_id is None:
        return own, None
    job = await ask.house.ledger.jobs.get(org_id, job_id, opened_for=own.id)
    return Owner.job(org_id, job.id), job


def own_id(ask: Ask) -> UUID | None:
    """Whose rows, allocation and budgets alone may be shown beside what is the whole organisation's; None: everybody's.

    Who is no user here, and comes in on a token's word, has none: an id that is nobody's.
    """
    principal = ask.principal
    if principal.sees_all_credits:
        return None
    assert principal.org_id is not None
    return principal.user_id or uuid5(principal.org_id, principal.actor)


def whose(ask: Ask, asked: UUID | None) -> UUID | None:
    """Of which user things are to be shown; None: of everybody. Raises Forbidden where a colleague's are asked for."""
    own = own_id(ask)
    if own is None:
        return asked
    if asked not in (None, own):
        raise Forbidden("This needs the right credits:read_all: a member is shown their own alone.")
    return own


def acts_for_themselves(ask: Ask) -> bool:
    """A person, or a person's key, without a right over others."""
    principal = ask.principal
    over_others = principal.may(Right.WRITE_USERS) or principal.may(Right.MOVE_CREDITS)
    is_person = principal.user_id is not None or principal.key_id is None
    return is_person and not over_others
