"""/api/credits: credits given to organisations and what became of them, for the operator, in µcr and in decimals."""

import hashlib
import re
from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from aiohttp import web

from gateway.core.units import credits_text
from gateway.edge.answers import json_answer
from gateway.edge.auth import operators_only
from gateway.edge.requests import Instant, Limit, Offset, amount_ucr, invalid, operator_of, read_body, read_query
from gateway.edge.rooms import CLOCK, IDS, LEDGER, ORGS
from gateway.ledger.accounts import Balance, Transaction
from gateway.ledger.grants import PRIORITY_MAX, Grant, TransactionType
from gateway.ledger.operations import TEXT_MAX, Idempotency

_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

# Ledger rows that no caller of the API named: what document 004 calls them.
_TYPES: Final = {"CHARGE": "USAGE", "RELEASE": "USAGE", "LATE_CHARGE": "USAGE"}
_CALL_REASON: Final = "MODEL_USAGE"


class Addition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    organization_id: UUID
    amount: msgspec.Raw
    """Credits, as a decimal string or a number; read exactly by `amount_ucr`."""
    transaction_type: TransactionType
    reason: Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
    """AI_CHAT, MODEL_USAGE, VOICE_SYNTHESIS, PODCAST_GENERATION, MANUAL_ADJUSTMENT, SUBSCRIPTION_REFILL,
    WELCOME_BONUS, REFERRAL_BONUS, or the operator's own word of that form."""
    description: Annotated[str, msgspec.Meta(max_length=TEXT_MAX, pattern=r"^[^\x00]*$")] = ""
    expires_at: Instant | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=PRIORITY_MAX)] = 50
    """The lower, the earlier it is burned."""


class OfOrg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    organization_id: UUID


class OrderBy(StrEnum):
    CREATED_AT = "created_at"
    AMOUNT = "amount"


class OrderDirection(StrEnum):
    ASC = "asc"
    DESC = "desc"


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    organization_id: UUID
    limit: Limit = 50
    offset: Offset = 0
    order_by: OrderBy = OrderBy.CREATED_AT
    order_direction: OrderDirection = OrderDirection.DESC


@operators_only
async def add(request: web.Request) -> web.StreamResponse:
    """201 with the grant and the balance right after it; repeated under its Idempotency-Key, the same answer again."""
    wish = await read_body(request, Addition)
    amount = amount_ucr(wish.amount, field="amount")
    if wish.expires_at is not None and wish.expires_at <= request.app[CLOCK].now():
        raise invalid("expires_at", "must be in the future")
    org = await request.app[ORGS].get(wish.organization_id)
    grant = Grant(
        id=request.app[IDS].next(),
        org_id=org.org_id,
        account_id=org.account_id,
        amount_ucr=amount,
        transaction_type=wish.transaction_type,
        reason=wish.reason,
        description=wish.description,
        expires_at=wish.expires_at,
        priority=wish.priority,
    )
    made = await request.app[LEDGER].grant(grant, by=operator_of(request), idempotency=_idempotency(request, grant))
    answer = {
        "id": made.id,
        "organization_id": org.org_id,
        "transaction_type": grant.transaction_type,
        "reason": grant.reason,
        "description": grant.description,
        "priority": grant.priority,
        "amount_ucr": made.amount_ucr,
        "amount": credits_text(made.amount_ucr),
        "effective_at": made.effective_at,
        "expires_at": made.expires_at,
        "created_at": made.created_at,
        **_standing(made.balance_ucr, made.held_ucr, made.receivable_ucr),
    }
    return json_answer(answer, status=201, headers={"idempotent-replayed": "true"} if made.repeated else None)


@operators_only
async def balance(request: web.Request) -> web.StreamResponse:
    """With every call that was answered before the question was asked."""
    query = read_query(request, OfOrg)
    org = await request.app[ORGS].get(query.organization_id)
    ledger = request.app[LEDGER]
    await ledger.settled(org.org_id)
    return json_answer(balance_view(org.org_id, await ledger.balance(org.org_id)))


@operators_only
async def transactions(request: web.Request) -> web.StreamResponse:
    """Rows that changed a balance; with every call that was answered before the question was asked."""
    query = read_query(request, HistoryQuery)
    org = await request.app[ORGS].get(query.organization_id)
    ledger = request.app[LEDGER]
    await ledger.settled(org.org_id)
    rows, total = await ledger.transactions(
        org.org_id,
        limit=query.limit,
        offset=query.offset,
        order_by=query.order_by.value,
        order_direction=query.order_direction.value,
    )
    data = [transaction_view(row) for row in rows]
    return json_answer({"data": data, "total": total, "limit": query.limit, "offset": query.offset})


def balance_view(org_id: UUID, balance: Balance) -> dict[str, Any]:
    return {
        "organization_id": org_id,
        **_standing(balance.balance_ucr, balance.held_ucr, balance.receivable_ucr),
        "open_count": balance.open_count,
    }


def transaction_view(row: Transaction) -> dict[str, Any]:
    view = {
        "id": row.id,
        "created_at": row.created_at,
        "kind": row.kind,
        "transaction_type": row.transaction_type or _TYPES.get(row.kind, row.kind),
        "reason": row.reason or (_CALL_REASON if row.kind in _TYPES else None),
        "description": row.note or "",
        "actor": row.actor or None,
        "amount_ucr": row.amount_ucr,
        "amount": credits_text(row.amount_ucr),
        "balance_after_ucr": row.balance_after_ucr,
        "balance_after": credits_text(row.balance_after_ucr),
        "reference_id": row.ref_id,
    }
    if row.kind in _TYPES:
        view |= {
            "end": row.ended,
            "key_id": row.key_id,
            "model": row.model,
            "cost_ucr": row.cost_ucr,
            "overage_ucr": row.overage_ucr,
            "waived_ucr": row.waived_ucr,
        }
    return view


def _standing(balance_ucr: int, held_ucr: int, receivable_ucr: int) -> dict[str, Any]:
    available_ucr = balance_ucr - held_ucr
    return {
        "balance_ucr": balance_ucr,
        "held_ucr": held_ucr,
        "available_ucr": available_ucr,
        "receivable_ucr": receivable_ucr,
        "balance": credits_text(balance_ucr),
        "held": credits_text(held_ucr),
        "available": credits_text(available_ucr),
        "receivable": credits_text(receivable_ucr),
    }


def _idempotency(request: web.Request, grant: Grant) -> Idempotency | None:
    """The caller's key, with a hash of what the request means: another spelling of an amount is the same request."""
    keys = request.headers.getall("idempotency-key", [])
    if not keys:
        return None
    if len(keys) > 1 or _IDEMPOTENCY_KEY.fullmatch(keys[0]) is None:
        raise invalid("Idempotency-Key", "must be sent once, with 1 to 255 printable characters")
    meaning = (
        "credits/add",
        grant.org_id,
        grant.amount_ucr,
        grant.transaction_type,
        grant.reason,
        grant.description,
        grant.expires_at,
        grant.priority,
    )
    return Idempotency(keys[0], hashlib.sha256(msgspec.json.encode(meaning)).digest())
