"""The recipe of one call: route → quote → reserve → commit point → turn → settle."""

import asyncio
from contextlib import suppress
from functools import partial

from gateway.core.chat_request import ChatRequest
from gateway.core.errors import (
    CreditsReserved,
    InsufficientCredits,
    InvalidRequest,
    ModelNotFound,
    OrgSuspended,
    UpstreamFailed,
    UpstreamUnavailable,
)
from gateway.core.estimate import IMAGE_TOKENS_EXPECTED, IMAGE_TOKENS_MAX, PromptRatios, prompt_hard_bound
from gateway.core.pricing import most
from gateway.core.reservation import Quote, Size, Terms, first_size, smaller_size
from gateway.core.splicing import splice
from gateway.core.units import credits_text
from gateway.ledger.calls import End, Held, Refusal, RefusalReason, Wish
from gateway.ledger.ledger import Ledger
from gateway.ops.clock import Clock
from gateway.relay.call import Call
from gateway.relay.catalogue import Catalogue, CatalogueEntry, Target
from gateway.relay.reservation import Reservation
from gateway.relay.settings import ReserveSettings
from gateway.relay.turn import StreamTurn
from gateway.relay.whole import WholeTurn
from gateway.upstream.client import UpstreamClient
from gateway.upstream.failover import Attempt, Opening

CHAT_PATH = "/chat/completions"
CUT_S = 5.0
"""How long calls that were cut may take to say so."""
STANDARD_TIERS = frozenset({"auto", "default", "standard", "on_demand", "flex"})
"""Service tiers that cost no more than the standard price where they have none of their own."""
SMALLER_TRIES_MAX = 3
"""How often a smaller reservation is tried when other calls take the credits in between."""


class Relay:
    """Takes calls down the road. Knows every open call, so that a stopping or fenced process can end them."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        client: UpstreamClient,
        catalogue: Catalogue,
        ratios: PromptRatios,
        clock: Clock,
        settings: ReserveSettings,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._catalogue = catalogue
        self._ratios = ratios
        self._clock = clock
        self._settings = settings
        self._open: dict[Call, asyncio.Task[object]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

    async def open(self, call: Call) -> StreamTurn | WholeTurn:
        """Brings a call to its commit point. Whatever is raised, nothing stays reserved; the turn must be closed."""
        if self._draining:
            raise UpstreamUnavailable("The gateway is shutting down; nothing was reserved.", upstream="")
        request, caller = call.request, call.caller
        if not caller.may_use(request.model):
            raise ModelNotFound(request.model)
        entry = self._catalogue.route(request.model)
        call.model_label = entry.name
        quote = self._quote(request, entry)
        task = asyncio.current_task()
        assert task is not None
        self._open[call] = task
        self._idle.clear()
        call.on_gone = task.cancel  # nothing is forwarded yet
        reservation = await self._reserve(call, quote, entry)
        opening = Opening(self._client, CHAT_PATH, call.forward_headers, stream=request.stream, choices=request.n)
        try:
            call.on_gone = partial(self._gone_while_opening, task, opening, entry, stream=request.stream)
            attempts = [self._attempt(request, target, reservation.size) for target in entry.targets]
            opened = await opening.run(attempts)
            call.first_event_at = self._clock.monotonic()
            target, terms = entry.targets[opened.attempt_index], quote.terms[opened.attempt_index]
            call.sent_to(target)
            send_limit = reservation.size.send_limit
            limit = terms.want_tokens if send_limit is None else min(terms.want_tokens, send_limit)
            output_max = limit * quote.choices
            if opened.whole is not None:
                return WholeTurn(
                    call,
                    reservation,
                    target,
                    opened,
                    prompt_tokens=terms.prompt_expected,
                    output_max=output_max,
                )
            return StreamTurn(
                call,
                reservation,
                target,
                opened,
                quote=quote,
                terms=terms,
                output_max=output_max,
                strip_usage_chunk=attempts[opened.attempt_index].strip_usage_chunk,
                first_slice_tokens=self._settings.first_slice_tokens,
                drain_s=self._settings.drain_s,
            )
        except UpstreamFailed:
            call.sent_to(entry.targets[opening.attempt_index])
            reservation.release(End.ERROR, entry.targets[opening.attempt_index])
            raise
        except BaseException:
            self._end_unopened(call, reservation, opening, entry, quote)
            raise

    def close(self, call: Call) -> None:
        """The handler is done with this call, whatever became of it."""
        call.on_gone = None
        if self._open.pop(call, None) is not None and not self._open:
            self._idle.set()

    # --- quote ------------------------------------------------------------------------------------------------------

    def _quote(self, request: ChatRequest, entry: CatalogueEntry) -> Quote:
        bound = prompt_hard_bound(
            prompt_bytes=request.prompt_bytes,
            message_count=request.message_count,
            images=request.images,
            tools=request.tools,
            by_reference=request.by_reference,
        )
        terms = tuple(self._terms(request, target, bound) for target in entry.targets)
        unknown_max = any(target.output_tokens_max is None for target in entry.targets)
        visible = not any(target.hides_reasoning for target in entry.targets)
        return Quote(
            terms=terms,
            choices=request.n,
            limit_asked=request.output_limit is not None,
            limit_must_be_sent=request.output_limit is None and unknown_max,
            progressive=request.stream and visible,
        )

    def _terms(self, request: ChatRequest, target: Target, bound: int | None) -> Terms:
        _refuse_unpriced(request, target)
        window = target.context_tokens
        if bound is None or target.upstream.hidden_context:
            if window is None or self._settings.by_reference == "refuse":
                raise InvalidRequest(
                    "This request refers to content that is not in its body (an image address, a file), "
                    "so the most it can cost is not known; nothing was reserved or sent.",
                    param="messages",
                    code="content_by_reference",
                )
            bound = learned = window
        else:
            bound = min(bound, window) if window is not None else bound
            ratio_tokens = self._ratios.estimate(target.model, request.prompt_bytes)
            learned = min(bound, ratio_tokens + request.images * IMAGE_TOKENS_MAX)
        expected = self._ratios.expected(target.model, request.prompt_bytes) + request.images * IMAGE_TOKENS_EXPECTED
        want = request.output_limit
        if want is None:
            want = target.output_tokens_max or self._settings.default_output_limit_tokens
        standard, asked = target.prices, target.prices_at(request.service_tier)
        return Terms(
            # The provider chooses the tier in the end; the dearer of what it may choose is held.
            prices=max(standard, asked, key=lambda prices: most(prices, bound, want)),
            prompt_bound=bound,
            prompt_learned=learned,
            prompt_expected=min(bound, expected),
            want_tokens=want,
        )

    # --- reserve ----------------------------------------------------------------------------------------------------

    async def _reserve(self, call: Call, quote: Quote, entry: CatalogueEntry) -> Reservation:
        size = first_size(quote)
        for tries_left in reversed(range(1 + SMALLER_TRIES_MAX)):
            answer = await self._ledger.reserve(
                Wish(
                    id=call.id,
                    org_id=call.caller.org_id,
                    account_id=call.caller.account_id,
                    key_id=call.caller.key_id,
                    user_id=call.caller.user_id,
                    model=call.request.model,
                    amount_ucr=size.amount_ucr,
                    learned_ucr=size.learned_ucr,
                    prompt_ucr=min(size.learned_ucr, quote.prompt_ucr()),
                    pins=entry.pins,
                )
            )
            if isinstance(answer, Held):
                return Reservation(self._ledger, self._clock, call, size, answer)
            smaller = self._smaller(quote, answer) if tries_left else None
            if smaller is None or smaller.amount_ucr >= size.amount_ucr:
                raise self._refused(quote, size, answer)
            size = smaller
        raise AssertionError("the last try either holds or raises")

    def _smaller(self, quote: Quote, refusal: Refusal) -> Size | None:
        if refusal.reason not in (RefusalReason.INSUFFICIENT, RefusalReason.BUSY):
            return None
        return smaller_size(
            quote,
            available_ucr=refusal.available_ucr,
            first_slice_tokens=self._settings.first_slice_tokens,
            clamp=self._settings.clamp,
        )

    def _refused(self, quote: Quote, size: Size, refusal: Refusal) -> Exception:
        match refusal.reason:
            case RefusalReason.SUSPENDED:
                return OrgSuspended("The organisation is suspended; nothing was reserved or sent.")
            case RefusalReason.PARKED:
                return OrgSuspended(
                    "The organisation's account is parked until its books are checked; nothing was reserved or sent."
                )
            case RefusalReason.ENDED:
                return InvalidRequest("This request id was used before; nothing was reserved or sent.", code="id_used")
            case RefusalReason.BUSY:
                return CreditsReserved(
                    "The credits for this call are held by other calls that are still open "
                    f"({_in_credits(size.amount_ucr, refusal.available_ucr)}); nothing was reserved or sent. "
                    "Retry shortly.",
                    available_ucr=refusal.available_ucr,
                    required_ucr=size.amount_ucr,
                    retry_after_s=refusal.retry_after_s,
                    affordable_max_tokens=quote.affordable_tokens(refusal.available_ucr),
                )
            case RefusalReason.RECEIVABLE:
                return InsufficientCredits(
                    "The organisation owes credits for an earlier call that cost more than was reserved; "
                    "new calls wait until that is repaid. Nothing was reserved or sent.",
                    limit_source="receivable",
                    available_ucr=refusal.available_ucr,
                    required_ucr=size.amount_ucr,
                )
            case RefusalReason.INSUFFICIENT:
                return InsufficientCredits(
                    "The organisation's credits do not cover the most this call can cost "
                    f"({_in_credits(size.amount_ucr, refusal.available_ucr)}); nothing was reserved or sent.",
                    available_ucr=refusal.available_ucr,
                    required_ucr=size.amount_ucr,
                    affordable_max_tokens=quote.affordable_tokens(refusal.available_ucr),
                )

    # --- up to the commit point -------------------------------------------------------------------------------------

    def _attempt(self, request: ChatRequest, target: Target, size: Size) -> Attempt:
        ask_usage = request.stream and target.upstream.include_usage and not request.include_usage
        field, tokens = target.upstream.output_limit_field, size.send_limit
        if tokens is None and field == "max_tokens" and request.limit_fields == ("max_completion_tokens",):
            tokens = request.output_limit  # such a provider may not know the newer field, and would not be bound by it
        limit = None if tokens is None else (field, tokens)
        body = splice(
            request,
            model=None if target.model == request.model else target.model,
            include_usage=ask_usage,
            output_limit=limit,
        )
        return Attempt(target.upstream, body, strip_usage_chunk=ask_usage)

    def _gone_while_opening(
        self, task: "asyncio.Task[object]", opening: Opening, entry: CatalogueEntry, *, stream: bool
    ) -> None:
        """What is billed whatever the caller does is read to its end, so that its usage is known: an answer that is
        not streamed, a provider that bills abandoned streams in full, reasoning that nobody sees."""
        opening.unwanted = True
        target = entry.targets[opening.attempt_index]
        reasoning = target.hides_reasoning and opening.opened is not None and opening.opened.began
        may_drain = self._settings.drain_s > 0 and (target.upstream.on_disconnect == "drain" or reasoning)
        if stream and not may_drain:
            task.cancel()

    def _end_unopened(
        self, call: Call, reservation: Reservation, opening: Opening, entry: CatalogueEntry, quote: Quote
    ) -> None:
        """Cancelled before the commit point: nothing is charged unless the provider had begun to answer."""
        end = End.CANCELLED if call.gone else End.ERROR
        index = opening.attempt_index
        call.sent_to(entry.targets[index])
        opened = opening.opened
        if opened is None or opened.meter is None or not opened.began:
            reservation.release(end, entry.targets[index])
        else:
            usage = opened.meter.final_usage(quote.terms[index].prompt_expected)
            reservation.charge(end, usage, entry.targets[index], said=opened.meter)

    # --- learning ---------------------------------------------------------------------------------------------------

    def learn(self, turn: StreamTurn | WholeTurn) -> None:
        """What the prompt really cost in tokens makes the next estimate for that model better."""
        usage, request = turn.call.usage, turn.call.request
        by_bytes = not (request.images or request.by_reference)  # else the ratio says nothing of a text's
        if usage.prompt_tokens and not usage.estimated and by_bytes:
            self._ratios.observe(turn.target.model, request.prompt_bytes, usage.prompt_tokens)

    # --- stopping ---------------------------------------------------------------------------------------------------

    @property
    def open_calls(self) -> int:
        return len(self._open)

    def cut_reserved(self) -> None:
        """Cancels the calls that hold credits. Those that wait for theirs go on: one of them may be the very task that
        found this process fenced and is registering it anew."""
        self._cut([call for call in self._open if call.reserved])

    def cut_all(self) -> int:
        """Cancels every open call, so that each is settled with what it delivered. Returns how many there were."""
        return self._cut(list(self._open))

    def _cut(self, calls: list[Call]) -> int:
        for call in calls:
            call.cut_by = UpstreamUnavailable(
                "The gateway had to end this call; what was delivered is charged, nothing more.", upstream=call.upstream
            )
            self._open[call].cancel()
        return len(calls)

    async def drain(self, limit_s: float) -> int:
        """Refuses new calls, lets open ones end for `limit_s`, then cuts the rest. Returns how many were cut."""
        self._draining = True
        try:
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        except TimeoutError:
            cut = self.cut_all()
            with suppress(TimeoutError):  # what does not end even so is left to the sweeper
                async with asyncio.timeout(CUT_S):
                    await self._idle.wait()
            return cut
        return 0


def _refuse_unpriced(request: ChatRequest, target: Target) -> None:
    """What a provider bills by another measure than the tokens that we charge would be had for less than it costs."""
    so = "so it cannot be charged for; nothing was reserved or sent."
    if request.audio:
        raise InvalidRequest(f"Audio is not metered yet, {so}", param="modalities", code="audio_not_priced")
    if request.other_output:
        raise InvalidRequest(
            f"Output other than text is not metered yet, {so}", param="modalities", code="output_not_priced"
        )
    if request.hosted_tools:
        raise InvalidRequest(
            f"A tool that the provider runs is billed by the call, {so}", param="tools", code="hosted_tool_not_priced"
        )
    tier = request.service_tier
    if tier and tier not in target.service_tiers and tier not in STANDARD_TIERS:
        raise InvalidRequest(
            f"This service tier has no price here, {so}", param="service_tier", code="service_tier_not_priced"
        )


def _in_credits(required_ucr: int, available_ucr: int) -> str:
    return f"{credits_text(required_ucr)} credits needed, {credits_text(available_ucr)} available"
