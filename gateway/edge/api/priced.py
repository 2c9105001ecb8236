"""What is to be paid, as it is said in requests: an amount, or tokens of a model at its prices."""

from typing import Annotated, Any, ClassVar, Final
from uuid import UUID

import msgspec

from gateway.core.errors import ModelNotFound
from gateway.core.idempotency import Idempotency
from gateway.core.pricing import charge, most
from gateway.core.tags import TAG_PATTERN, TAGS_MAX, TAGS_RULE, tags_json
from gateway.core.usage import TOKENS_MAX, Usage
from gateway.edge.api.ask import Ask
from gateway.edge.api.credits import OfOrg
from gateway.edge.api.keys import ModelName
from gateway.edge.api.ways import Way, Ways
from gateway.edge.requests import Amount, AmountOrNone, amount_ucr, invalid, left_out
from gateway.ledger.deductions import LINE_CHARS_MAX
from gateway.ledger.used import Used
from gateway.relay.catalogue import CatalogueEntry

Tokens = Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=LINE_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""What a charge's line is called: for people, and for budgets of a feature."""
Tags = Annotated[tuple[Annotated[str, msgspec.Meta(pattern=TAG_PATTERN)], ...], msgspec.Meta(max_length=TAGS_MAX)]
"""What the charge is found by; one that is given twice counts once. Kept by `tagged`."""
OperationId = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,200}$")]
UsageType = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
Life = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
"""Seconds for which credits are held, unless it ends before. The ledger's settings may allow less."""
LongLife = Annotated[float, msgspec.Meta(gt=0, le=691_200)]
"""Likewise, of what a job may hold."""

_NAME: Final = "reserved"
_TOKENS: Final = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")


class Expected(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either an amount, or tokens of a model."""

    ways: ClassVar[Ways] = (
        Way(needs=("amount",), without=("model", "expected_input_tokens", "expected_output_tokens")),
        Way(needs=("model",), without=("amount",)),
    )
    amount: Amount = msgspec.field(default_factory=left_out)
    model: ModelName | None = None
    expected_input_tokens: Tokens = 0
    expected_output_tokens: Tokens = 0


class Spent(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either an amount, or tokens of a model at the prices of now."""

    ways: ClassVar[Ways] = (
        Way(needs=("amount",), without=("model", *_TOKENS)),
        Way(needs=("model",), without=("amount",)),
    )
    amount: AmountOrNone = msgspec.field(default_factory=left_out)
    model: ModelName | None = None
    input_tokens: Tokens = 0
    """The whole prompt, cached and written tokens included."""
    cached_tokens: Tokens = 0
    cache_write_tokens: Tokens = 0
    output_tokens: Tokens = 0
    tags: Tags = ()
    """Up to 8, each of 1 to 64 visible ASCII characters but the comma: the transaction is found by each."""


async def expected_ucr(ask: Ask, org_id: UUID, expected: Expected) -> int:
    """The most that it can cost the organisation at any provider that may serve the model.

    Raises InvalidRequest, or ModelNotFound where the model is not served here, not priced, or not the asking key's.
    """
    if _is_amount(expected.amount, expected.model):
        _refuse_tokens(expected, "expected_input_tokens", "expected_output_tokens")
        return amount_ucr(expected.amount, field="amount")
    assert expected.model is not None
    targets = (await _entry(ask, org_id, expected.model)).targets
    tokens = expected.expected_input_tokens, expected.expected_output_tokens
    return max(most(target.prices, *tokens) for target in targets)


async def used(ask: Ask, org_id: UUID, spent: Spent, *, name: str = _NAME) -> Used:
    """An amount has one line, called `name`. Raises like `expected_ucr`."""
    if _is_amount(spent.amount, spent.model):
        _refuse_tokens(spent, *_TOKENS)
        ucr = amount_ucr(spent.amount, field="amount", least_ucr=0)
        return tagged(Used.plainly(name, price_ucr=1, quantity=ucr), spent.tags)
    assert spent.model is not None
    if spent.cached_tokens + spent.cache_write_tokens > spent.input_tokens:
        raise invalid("input_tokens", "must not be less than cached_tokens and cache_write_tokens, which are in it")
    usage = Usage(
        prompt_tokens=spent.input_tokens,
        cached_tokens=spent.cached_tokens,
        cache_write_tokens=spent.cache_write_tokens,
        output_tokens=spent.output_tokens,
    )
    entry = await _entry(ask, org_id, spent.model)
    return tagged(Used.by_model(spent.model, charge(entry.prices, usage), usage), spent.tags)


def tagged(used: Used, tags: Tags) -> Used:
    """Raises InvalidRequest."""
    try:
        return msgspec.structs.replace(used, tags=tags_json(tags))
    except ValueError:  # a line's end, which the pattern lets pass
        raise invalid("tags", TAGS_RULE) from None


async def _entry(ask: Ask, org_id: UUID, model: str) -> CatalogueEntry:
    """The model as it is for the organisation: at its volume, with its mark-up.

    Raises ModelNotFound, also for a model that the key which asks may not use.
    """
    house = ask.house
    if ask.principal.models is not None and model not in ask.principal.models:
        raise ModelNotFound(model)
    entry = house.offers.route(model)
    if not house.offers.differ(entry):
        return entry
    return await house.offers.to(entry, org_id, await house.price_desk.plan_of(org_id))


def idempotency_of(ask: Ask, operation_id: str | None, *meaning: Any) -> Idempotency | None:
    """Under the Idempotency-Key and under the operation's id, which is the endpoint's own: each knows the answer.

    The blank keeps what is made of an id apart from every key.
    """
    if operation_id is None:
        return ask.idempotency(None, *meaning)
    operation = f"{ask.path} {operation_id}"
    if ask.idempotency_key is None:
        return msgspec.structs.replace(ask, idempotency_key=operation).idempotency(operation_id, *meaning)
    key = ask.idempotency(operation_id, *meaning)
    assert key is not None
    return msgspec.structs.replace(key, operation=operation)


def _refuse_tokens(said: OfOrg, *names: str) -> None:
    for name in names:
        if getattr(said, name):
            raise invalid(name, "is of a model, and an amount stands for itself: leave it out")


def _is_amount(amount: msgspec.Raw, model: str | None) -> bool:
    given = bool(bytes(amount))
    if given == (model is not None):
        raise invalid("amount", "or `model` must be given, and not both")
    return given
