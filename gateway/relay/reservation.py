"""The credits held for one call: grown while it runs, ended exactly once, whatever way the call takes out."""

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from gateway.core.pricing import Charge, charge
from gateway.core.reservation import Size
from gateway.core.usage import NOTHING_USED, Usage
from gateway.ledger.calls import End, Ending, Held
from gateway.ledger.ledger import Ledger
from gateway.ops.clock import Clock
from gateway.relay.call import Call
from gateway.relay.catalogue import Target

_LINES: Final = msgspec.json.Encoder(decimal_format="number")
EXTEND_TRIES_MAX: Final = 3
"""How often what is left is asked for when other calls take some of it in between."""


class Said(Protocol):
    """What an answer tells of itself, streamed or not."""

    @property
    def provider_id(self) -> str: ...

    @property
    def service_tier(self) -> str: ...


class Reservation:
    """What a call holds. The first `charge` or `release` ends it; later ones are ignored, since an end is final."""

    __slots__ = ("_account_id", "_call", "_clock", "_ledger", "available_ucr", "ended", "held_ucr", "size")

    def __init__(self, ledger: Ledger, clock: Clock, call: Call, size: Size, held: Held) -> None:
        self._ledger = ledger
        self._clock = clock
        self._call = call
        self.size = size
        self.ended = False
        call.reserved = True
        self._account_id = held.account_id
        self.available_ucr = held.available_ucr
        self.held_ucr = call.held_ucr = held.amount_ucr
        call.send_limit = size.send_limit

    async def hold_at_least(self, *, needed_ucr: int, wanted_ucr: int) -> bool:
        """Grows it to `wanted_ucr`, or at least to `needed_ucr`. False: neither fits and nothing changed."""
        call = self._call
        ask = max(needed_ucr, wanted_ucr)
        for _ in range(EXTEND_TRIES_MAX):
            answer = await self._ledger.extend(
                id=call.id, org_id=call.caller.org_id, account_id=self._account_id, at_least_ucr=ask
            )
            if isinstance(answer, Held):
                self.held_ucr = call.held_ucr = answer.amount_ucr
                self.available_ucr = answer.available_ucr
                return True
            # All that is left, rather than just enough: or each further token would cost two commits of its own.
            fits = self.held_ucr + answer.available_ucr
            if not needed_ucr <= fits < ask:
                return False
            ask = fits
        return False

    def watch_spent(self, spent_ucr: Callable[[], int]) -> None:
        """The watermark: the least that a sweeper charges if this process dies."""
        self._ledger.watch_spent(self._call.id, spent_ucr)

    def charge(
        self,
        end: End,
        usage: Usage,
        target: Target,
        *,
        said: Said | None = None,
        waive_above_held: bool = False,
    ) -> None:
        """Ends with the price of what was used, at the tier that the provider says it served, else the one asked."""
        sent = self._call.said or self._call.request
        tier = (said.service_tier if said is not None else "") or sent.service_tier
        messages = sent.n if usage.search_units is None else usage.search_units
        cost = charge(target.prices_at(tier), usage, messages=messages)
        provider_id = said.provider_id if said is not None else ""
        self._end(end, usage, cost, target, provider_id=provider_id, waive_above_held=waive_above_held)

    def release(self, end: End, target: Target | None = None) -> None:
        """Ends with nothing charged, because nothing that is billed was delivered."""
        self._end(end, NOTHING_USED, None, target, provider_id="", waive_above_held=False)

    def _end(
        self,
        end: End,
        usage: Usage,
        cost: Charge | None,
        target: Target | None,
        *,
        provider_id: str,
        waive_above_held: bool,
    ) -> None:
        if self.ended:
            return
        self.ended = True
        call = self._call
        call.end = end
        call.charged_ucr = cost.cost_ucr if cost else 0
        if waive_above_held:
            call.charged_ucr = min(call.charged_ucr, self.held_ucr)
        call.usage = usage
        call.provider_id = provider_id
        now = self._clock.monotonic()
        first = call.first_event_at
        self._ledger.settle(
            Ending(
                id=call.id,
                org_id=call.caller.org_id,
                account_id=self._account_id,
                end=end,
                delivered=cost is not None,
                cost_ucr=cost.cost_ucr if cost else 0,
                numerator=cost.numerator if cost else 0,
                lines=_LINES.encode(cost.lines) if cost else b"[]",
                waive_above_held=waive_above_held,
                key_id=call.caller.key_id,
                user_id=call.caller.user_id,
                model=call.request.model,
                feature=call.feature,
                upstream=target.upstream.name if target else "",
                upstream_model=target.model if target else "",
                provider_request_id=provider_id,
                streamed=call.request.stream,
                status=call.status,
                finish_reason=call.finish_reason,
                prompt_tokens=usage.prompt_tokens,
                cached_tokens=usage.cached_tokens,
                cache_write_tokens=usage.cache_write_tokens,
                output_tokens=usage.output_tokens,
                reasoning_tokens=usage.reasoning_tokens,
                first_event_ms=int((first - call.started_at) * 1000) if first is not None else None,
                duration_ms=int((now - call.started_at) * 1000),
                tags=call.tags,
            )
        )
