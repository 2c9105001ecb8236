"""The recipe of one call: route → quote → reserve → commit point → turn → settle."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from gateway.core.caller import KeyKind
from gateway.core.errors import ModelNotFound, UpstreamFailed, UpstreamUnavailable
from gateway.core.reservation import Quote, Size, first_size, smaller_size
from gateway.ledger.calls import End, Held, Refusal, Wish
from gateway.ledger.ledger import Ledger
from gateway.ops.clock import Clock
from gateway.relay.background import BackgroundCalls, BackgroundTurn
from gateway.relay.call import Call
from gateway.relay.catalogue import CatalogueEntry, Target
from gateway.relay.keeping import Keeping
from gateway.relay.offers import Offers
from gateway.relay.quoter import Quoter
from gateway.relay.refusals import SMALLER_MAY_FIT, nobody_pays, refused
from gateway.relay.reservation import Reservation
from gateway.relay.settings import ReserveSettings
from gateway.relay.turn import StreamTurn
from gateway.relay.ways import Interpreter, Way, as_it_came
from gateway.relay.whole import WholeTurn
from gateway.upstream.client import UpstreamClient
from gateway.upstream.failover import Attempt, Opened, Opening

_SANDBOX = KeyKind.SANDBOX
CUT_S = 5.0
"""How long calls that were cut may take to say so."""
SMALLER_TRIES_MAX = 3
"""How often a smaller reservation is tried when other calls take the credits in between."""


class Relay:
    """Takes calls down the road. Knows every open call, so that a stopping or fenced process can end them."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        client: UpstreamClient,
        offers: Offers,
        quoter: Quoter,
        interpreter: Interpreter,
        keeping: Keeping,
        background: BackgroundCalls,
        clock: Clock,
        settings: ReserveSettings,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._offers = offers
        self._quoter = quoter
        self._interpreter = interpreter
        self._keeping = keeping
        self._background = background
        self._clock = clock
        self._settings = settings
        self._open: dict[Call, asyncio.Task[object]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

    async def open(self, call: Call) -> StreamTurn | WholeTurn | BackgroundTurn:
        """Brings a call to its commit point; the turn must be closed. Whatever is raised, nothing stays reserved, but
        for a call in the background that a provider may have taken."""
        if self._draining:
            raise UpstreamUnavailable("The gateway is shutting down; nothing was reserved.", upstream="")
        request, caller, dialect = call.request, call.caller, call.dialect
        entry = self._entry(call)
        if caller.kind is not _SANDBOX and self._offers.differ(entry):
            entry = await self._offers.to(entry, caller.org_id, caller.plan_id)
        call.model_label = entry.name
        if dialect.storage is not None:
            entry = await self._keeping.narrowed(call, entry)
        ways: Sequence[Way] | None = None
        if dialect.name in entry.dialects:
            request = call.request = as_it_came(dialect, request)
            quote = self._quoter.quote(request, entry)
        else:
            entry, ways = self._interpreter.ways(dialect, request, entry, caller.unsupported_fields)
            quote = self._quoter.quote(request, entry, [way.request for way in ways])
        task = asyncio.current_task()
        assert task is not None
        self._open[call] = task
        self._idle.clear()
        call.on_gone = task.cancel  # nothing is forwarded yet
        if call.gone:
            raise asyncio.CancelledError  # he left while it was looked up what may be called
        if dialect.storage is not None and dialect.storage.background(request):
            return await self._background.begin(call, entry, quote)
        reservation = await self._reserve(call, quote, entry)
        opening = Opening(self._client, stream=request.stream)
        try:
            call.on_gone = partial(self._gone_while_opening, task, opening, entry, quote, stream=request.stream)
            own = Way(dialect=dialect, request=request)
            attempts = (
                self._attempt(call, target, own if ways is None else ways[at], reservation.size)
                for at, target in enumerate(entry.targets)
            )
            opened = await opening.run(attempts, count=len(entry.targets))
            call.first_event_at = self._clock.monotonic()
            way = own if ways is None else ways[opened.attempt_index]
            turn = self._turn(call, reservation, opened, entry=entry, way=way, quote=quote)
            if isinstance(turn, WholeTurn):
                await turn.keep()
            return turn
        except UpstreamFailed:
            call.sent_to(entry.targets[opening.attempt_index])
            reservation.release(End.ERROR, entry.targets[opening.attempt_index])
            raise
        except BaseException:
            self._end_unopened(call, reservation, opening, entry, quote)
            raise

    def _entry(self, call: Call) -> CatalogueEntry:
        """What the caller may call by this name. Raises ModelNotFound, InvalidRequest or Forbidden."""
        model, caller = call.request.model, call.caller
        if not caller.may_use(model):
            raise ModelNotFound(model)
        entry = self._offers.catalogue.sandbox(model) if caller.kind is _SANDBOX else self._offers.route(model)
        if entry.orgs is not None and not entry.admits(caller.org_id):
            raise ModelNotFound(model)
        return entry

    def _turn(
        self, call: Call, reservation: Reservation, opened: Opened, *, entry: CatalogueEntry, way: Way, quote: Quote
    ) -> StreamTurn | WholeTurn:
        target, terms = entry.targets[opened.attempt_index], quote.terms[opened.attempt_index]
        call.sent_to(target)
        send_limit = reservation.size.send_limit
        limit = terms.want_tokens if send_limit is None else min(terms.want_tokens, send_limit)
        output_max = limit * quote.choices
        keeper = self._keeping.keeper(call, target.upstream.name) if way.translation is None else None
        if opened.whole is not None:
            return WholeTurn(
                call,
                reservation,
                target,
                opened,
                way=way,
                keeper=keeper,
                prompt_tokens=terms.prompt_expected,
                output_max=output_max,
            )
        return StreamTurn(
            call,
            reservation,
            target,
            opened,
            translation=way.translation,
            keeper=keeper,
            quote=quote,
            terms=terms,
            output_max=output_max,
            strip_usage_chunk=opened.strip_usage_chunk,
            first_slice_tokens=self._settings.first_slice_tokens,
            drain_s=self._settings.drain_s,
        )

    def close(self, call: Call) -> None:
        """The handler is done with this call, whatever became of it."""
        call.on_gone = None
        if self._open.pop(call, None) is not None and not self._open:
            self._idle.set()

    # --- reserve ----------------------------------------------------------------------------------------------------

    async def _reserve(self, call: Call, quote: Quote, entry: CatalogueEntry) -> Reservation:
        size = first_size(quote)
        payers = call.caller.payers(model=call.request.model, feature=call.feature)
        if not payers:
            raise nobody_pays(size)
        for tries_left in reversed(range(1 + SMALLER_TRIES_MAX)):
            answer = await self._ledger.reserve(
                Wish(
                    id=call.id,
                    org_id=call.caller.org_id,
                    account_ids=payers,
                    key_id=call.caller.key_id,
                    user_id=call.caller.user_id,
                    model=call.request.model,
                    feature=call.feature,
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
                raise refused(quote, size, answer)
            size = smaller
        raise AssertionError("the last try either holds or raises")

    def _smaller(self, quote: Quote, refusal: Refusal) -> Size | None:
        if refusal.reason not in SMALLER_MAY_FIT:
            return None
        return smaller_size(
            quote,
            available_ucr=refusal.available_ucr,
            first_slice_tokens=self._settings.first_slice_tokens,
            clamp=self._settings.clamp,
        )

    # --- up to the commit point -------------------------------------------------------------------------------------

    def _attempt(self, call: Call, target: Target, way: Way, size: Size) -> Attempt:
        dialect = way.dialect
        call.spoken, call.dropped, call.said = None, (), None
        translator = None
        if way.translation is not None:
            translator = way.translation.stream(call.request, call.started_unix_ms // 1000)
            call.spoken, call.dropped, call.said = dialect.name, way.dropped, way.request
        body, asks_usage = dialect.splice(way.request, target.model, target.upstream, size.send_limit)
        return Attempt(
            upstream=target.upstream,
            dialect=dialect.name,
            path=way.path(target),
            headers=way.headers(call.dialect, call.forward_headers),
            body=body,
            new_meter=dialect.meter,
            choices=way.request.n,
            strip_usage_chunk=asks_usage,
            translated=way.translation is not None,
            translator=translator,
        )

    def _gone_while_opening(
        self, task: "asyncio.Task[object]", opening: Opening, entry: CatalogueEntry, quote: Quote, *, stream: bool
    ) -> None:
        """What is billed whatever the caller does is read to its end, so that its usage is known: an answer that is
        not streamed, a provider that bills abandoned streams in full, reasoning that nobody sees, a prompt that only
        the provider knows."""
        opening.unwanted = True
        target = entry.targets[opening.attempt_index]
        unseen = target.hides_reasoning or quote.terms[opening.attempt_index].prompt_unknown
        unseen = unseen and opening.opened is not None and opening.opened.began
        may_drain = self._settings.drain_s > 0 and (target.upstream.on_disconnect == "drain" or unseen)
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
            usage = opened.meter.final_usage(quote.terms[index].prompt_tokens(by_caller=call.gone))
            reservation.charge(end, usage, entry.targets[index], said=opened.meter)

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
