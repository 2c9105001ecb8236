"""/api/audit-log: who changed what of an organisation, and why. Only the changes themselves write in it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.edge.api.ask import Ask
from gateway.edge.api.credits import OfOrg
from gateway.edge.api.cursors import Cursor, ListById, id_cursor, read_id
from gateway.edge.api.endpoint import endpoint
from gateway.edge.requests import Instant, Limit, invalid
from gateway.ledger.audit_log import THE_GATEWAY, Entry, WantedEntries
from gateway.usage.transactions import Wanted

Actor = Annotated[str, msgspec.Meta(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]+$")]


class AuditQuery(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    actor: Actor | None = None
    """`operator`, `user:<id>`, `key:<id>`, `cli:<name>`, `tollgate`."""
    object: UUID | None = None
    object_kind: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,32}$")] | None = None
    """org, user, key, account, grant, charge, budget, …; of the gateway: price, markup"""
    action: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,32}\.[a-z_]{1,32}$")] | None = None
    """key.revoked, credits.granted, …"""
    from_: Instant | None = msgspec.field(default=None, name="from")
    to: Instant | None = None
    """Half-open: before this."""
    limit: Limit = 50
    cursor: Cursor | None = None


class EntryView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    at: datetime
    actor: str
    address: str
    action: str
    object_kind: str
    object_id: UUID
    before: msgspec.Raw | None
    """What changed of the object, as it was; null where it was made."""
    after: msgspec.Raw | None
    reason: str
    request_id: UUID | None
    """The `x-request-id` of the answer to the change."""


class EntryPage(msgspec.Struct, frozen=True, kw_only=True):
    data: list[EntryView]
    limit: Limit
    next_cursor: str | None
    """null: that was all. A page that is not full may have one: it looked at 10,000 entries."""


@endpoint("GET", "/api/audit-log", needs=Right.READ_AUDIT_LOG)
async def page(ask: Ask, query: AuditQuery) -> EntryPage:
    """What was changed by people and programs, latest first.

    Without `organization_id`: one's own organisation's; to the operator, what was changed of the gateway itself, which
    is prices and mark-ups. Nobody else is shown mark-ups.
    """
    org_id = await _whose(ask, query.organization_id)
    if query.from_ is not None and query.to is not None and query.to <= query.from_:
        raise invalid("to", "must be after `from`")
    first_id, end_id = Wanted(since=query.from_, until=query.to).ids()
    if query.cursor is not None:
        end_id = min(end_id, read_id(ListById.AUDIT_LOG, query.cursor))
    wanted = WantedEntries(
        first_id=first_id,
        end_id=end_id,
        actor=query.actor,
        object_kind=query.object_kind,
        object_id=query.object,
        action=query.action,
        markups=ask.principal.is_operator,
    )
    entries, last = await ask.house.audit_log.page(org_id, wanted, limit=query.limit)
    return EntryPage(
        data=[entry_view(entry) for entry in entries],
        limit=query.limit,
        next_cursor=None if last is None else id_cursor(ListById.AUDIT_LOG, last),
    )


async def _whose(ask: Ask, named: UUID | None) -> UUID:
    if named is None and ask.principal.is_operator:
        return THE_GATEWAY
    return (await ask.house.orgs.get(ask.org(named))).org_id


def entry_view(entry: Entry) -> EntryView:
    return EntryView(
        id=entry.id,
        at=entry.at,
        actor=entry.actor,
        address=entry.address,
        action=entry.action,
        object_kind=entry.object_kind,
        object_id=entry.object_id,
        before=entry.before,
        after=entry.after,
        reason=entry.reason,
        request_id=entry.request_id,
    )
