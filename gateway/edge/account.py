"""/v1/models, /v1/credits, /v1/key, /v1/generation: what a key may know of itself, in OpenAI's and OpenRouter's shapes.

Money is credits as exact decimal numbers. Each answer about money first waits for the calls that were just answered.
"""

from datetime import UTC
from decimal import Decimal
from typing import Any, Final

import msgspec
from aiohttp import web

from gateway.core.caller import Caller
from gateway.core.errors import ModelNotFound
from gateway.core.pricing import FULL_BP, Tier, with_markup
from gateway.core.units import UCR_PER_CREDIT, UNITS_PER_PRICE
from gateway.edge import gemini_models, messages_models
from gateway.edge.answers import json_answer
from gateway.edge.auth import authenticate
from gateway.edge.errors import speaks_gemini, speaks_messages
from gateway.edge.requests import Line, read_query
from gateway.edge.rooms import CATALOGUE, CLOCK, GENERATIONS, KEY_USAGE, LEDGER, OFFERS
from gateway.relay.catalogue import CatalogueEntry
from gateway.usage.generation import Generation

_CREDIT_PLACES: Final = -6
_PRICE_PLACES: Final = -12
assert UCR_PER_CREDIT == 10**6
assert UNITS_PER_PRICE == 10**6


class GenerationQuery(msgspec.Struct, frozen=True):
    id: Line


async def models(request: web.Request) -> web.StreamResponse:
    """The models this key may use, by name."""
    if speaks_gemini(request):
        return await gemini_models.models(request)
    caller = await authenticate(request)
    entries = [
        entry for entry in request.app[CATALOGUE].models() if caller.may_use(entry.name) and entry.admits(caller.org_id)
    ]
    if speaks_messages(request):
        return json_answer(messages_models.page_of(entries, read_query(request, messages_models.ModelsQuery)))
    return json_answer(
        {"object": "list", "data": [_model(await _offered(request, entry, caller)) for entry in entries]}
    )


async def model(request: web.Request) -> web.StreamResponse:
    if speaks_gemini(request):
        return await gemini_models.model(request)
    caller = await authenticate(request)
    name = request.match_info["model"]
    if not caller.may_use(name):
        raise ModelNotFound(name)
    entry = request.app[CATALOGUE].route(name)
    if not entry.admits(caller.org_id):
        raise ModelNotFound(name)
    if speaks_messages(request):
        return json_answer(messages_models.shown(entry.speaking(messages_models.DIALECT)))
    return json_answer(_model(await _offered(request, entry, caller)))


async def credits(request: web.Request) -> web.StreamResponse:
    """`total_credits - total_usage` is what remains but for expiry; `available` is what a call can hold now."""
    caller = await authenticate(request)
    ledger = request.app[LEDGER]
    await ledger.settled(caller.org_id)
    balance = await ledger.balance(caller.org_id)
    return json_answer(
        {
            "data": {
                "total_credits": _credits(balance.granted_ucr),
                "total_usage": _credits(balance.used_ucr),
                "available": _credits(balance.available_ucr),
                "held": _credits(balance.held_ucr),
                "receivable": _credits(balance.receivable_ucr),
            }
        }
    )


async def key(request: web.Request) -> web.StreamResponse:
    """A key has no limit of its own yet, so all three limits are null, as OpenRouter says `unlimited`."""
    caller = await authenticate(request)
    await request.app[LEDGER].settled(caller.org_id)
    used = await request.app[KEY_USAGE].of(
        org_id=caller.org_id, user_id=caller.user_id, key_id=caller.key_id, now=request.app[CLOCK].now()
    )
    return json_answer(
        {
            "data": {
                "label": caller.key_name,
                "limit": None,
                "limit_reset": None,
                "limit_remaining": None,
                "usage": _credits(used.total_ucr),
                "usage_daily": _credits(used.day_ucr),
                "usage_weekly": _credits(used.week_ucr),
                "usage_monthly": _credits(used.month_ucr),
                "is_free_tier": False,
                "expires_at": caller.expires_at,
                "models": None if caller.models is None else sorted(caller.models),
            }
        }
    )


async def generation(request: web.Request) -> web.StreamResponse:
    caller = await authenticate(request)
    query = read_query(request, GenerationQuery)
    await request.app[LEDGER].settled(caller.org_id)
    return json_answer({"data": _generation(await request.app[GENERATIONS].find(caller.org_id, query.id))})


def _generation(call: Generation) -> dict[str, Any]:
    return {
        "id": call.id,
        "upstream_id": call.provider_request_id or None,
        "total_cost": _credits(call.used_ucr),
        "usage": _credits(call.used_ucr),
        "model": call.model,
        "provider_name": call.upstream or None,
        "streamed": call.streamed,
        "cancelled": call.ended == "cancelled",
        "end": call.ended,
        "status": call.status or None,
        "finish_reason": call.finish_reason or None,
        "tokens_prompt": call.prompt_tokens,
        "tokens_completion": call.output_tokens,
        "native_tokens_prompt": call.prompt_tokens,
        "native_tokens_completion": call.output_tokens,
        "native_tokens_cached": call.cached_tokens,
        "native_tokens_cache_write": call.cache_write_tokens,
        "native_tokens_reasoning": call.reasoning_tokens,
        "latency": call.first_event_ms,
        "generation_time": call.duration_ms,
        "created_at": call.started_at.astimezone(UTC),
        "lines": [
            {"kind": kind, "units": units, "price_per_unit": _price(price_ucr)} for kind, units, price_ucr in call.lines
        ],
    }


async def _offered(request: web.Request, entry: CatalogueEntry, caller: Caller) -> CatalogueEntry:
    """The model as the caller's organisation pays for it."""
    offers = request.app[OFFERS]
    return await offers.to(entry, caller.org_id, caller.plan_id) if offers.differ(entry) else entry


def _model(entry: CatalogueEntry) -> dict[str, Any]:
    factor_bp = FULL_BP + entry.prices.markup_bp
    first, *longer = entry.prices.tiers
    pricing = _pricing(first, factor_bp)
    if longer:
        pricing["tiers"] = [{"above_prompt_tokens": tier.above_tokens, **_pricing(tier, factor_bp)} for tier in longer]
    if entry.prices.message_ucr:
        pricing["message"] = _price(with_markup(entry.prices.message_ucr * UNITS_PER_PRICE, factor_bp))
    if entry.prices.request_ucr:
        pricing["request"] = _price(with_markup(entry.prices.request_ucr * UNITS_PER_PRICE, factor_bp))
    return {
        "id": entry.name,
        "object": "model",
        "created": entry.created,
        "owned_by": entry.owned_by,
        "context_length": entry.context_tokens,
        "max_completion_tokens": entry.output_tokens_max,
        "pricing": pricing,
    }


def _pricing(tier: Tier, factor_bp: int) -> dict[str, Any]:
    """Credits per token, as strings: OpenRouter's clients expect them so."""
    return {
        "prompt": _price(with_markup(tier.input_ucr, factor_bp)),
        "completion": _price(with_markup(tier.output_ucr, factor_bp)),
        "input_cache_read": _price(with_markup(tier.cached_ucr, factor_bp)),
        "input_cache_write": _price(with_markup(tier.cache_write_ucr, factor_bp)),
    }


def _credits(ucr: int) -> Decimal:
    return Decimal(ucr).scaleb(_CREDIT_PLACES)


def _price(ucr_per_million: int | Decimal) -> str:
    """µcr per million units → credits a unit, exactly and without an exponent: `0.00000125`."""
    text = f"{Decimal(ucr_per_million).scaleb(_PRICE_PLACES):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
