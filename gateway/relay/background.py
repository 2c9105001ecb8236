"""Calls whose answers come later: reserved as a job's, asked for until they end, settled with what they used.

The whole most a call can cost is the watermark of its reservation from before it is sent. So whatever dies or falls
silent after that, the ledger ends it at its time for what it held: late perhaps, but never free.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from gateway.core.dialect import Dialect
from gateway.core.errors import (
    Conflict,
    LedgerUnavailable,
    NotFound,
    TollgateError,
    TooManyOpen,
    UpstreamBroken,
    UpstreamFailed,
    UpstreamUnreachable,
)
from gateway.core.pricing import charge
from gateway.core.reservation import Quote, Size, first_size
from gateway.core.usage import Usage
from gateway.ledger.calls import End
from gateway.ledger.ledger import Ledger
from gateway.ledger.owned import OwnedHold, OwnedWish, Owner
from gateway.ledger.used import NOTHING, Used
from gateway.ops.clock import Clock
from gateway.relay.call import Call
from gateway.relay.catalogue import CatalogueEntry, Target
from gateway.relay.keeping import Keeping
from gateway.relay.refusals import nobody_pays
from gateway.stored.background import BackgroundResponse, BackgroundResponses
from gateway.stored.objects import RESPONSE_ID
from gateway.upstream.client import UpstreamClient
from gateway.upstream.failover import Attempt, Opened, Opening
from gateway.upstream.kept import KEPT_BYTES_MAX, ask_whole
from gateway.upstream.registry import Upstream

_log = structlog.get_logger()

KIND: Final = "response"
LIFE_S: Final = 86_400.0
"""How long one may go on. Then it is charged what it held."""
OPEN_MAX: Final = 200
"""Of one organisation."""
POLL_EVERY_S: Final = 1.0
POLLED_AT_ONCE: Final = 50
ASKED_AT_ONCE: Final = 10
ASKED_S: Final = 20.0
"""How long a provider may take to say how far one is; then the next has its turn."""
WRITE_TRIES: Final = 5
WRITE_AGAIN_S: Final = 0.5
_BUSY, _BROKEN = 429, 500
_MAY_BE_TAKEN: Final = (
    "The provider may have taken the call; then what is held for it is charged when its time is over."
)
GONE: Final = frozenset({404, 410})
_TAKEN: Final = range(200, 300)


class BackgroundTurn:
    """The provider has taken it, or refused to. What it costs is not known yet."""

    complete: Final = True

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes, *, available_ucr: int) -> None:
        self.status = status
        self.upstream_headers = headers
        self.body = body
        self.available_ucr = available_ucr

    def close(self) -> None:
        """There is nothing to end."""


class BackgroundCalls:
    """Begins them, and looks after those of every process. `upstreams` is by name."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        client: UpstreamClient,
        keeping: Keeping,
        responses: BackgroundResponses,
        upstreams: Mapping[str, Upstream],
        dialect: Dialect,
        clock: Clock,
        life_max_s: float,
    ) -> None:
        assert dialect.storage is not None
        self._ledger = ledger
        self._client = client
        self._keeping = keeping
        self._responses = responses
        self._upstreams = upstreams
        self._dialect = dialect
        self._storage = dialect.storage
        self._clock = clock
        self._life_s = min(LIFE_S, life_max_s)

    # --- the beginning ----------------------------------------------------------------------------------------------

    async def begin(self, call: Call, entry: CatalogueEntry, quote: Quote) -> BackgroundTurn:
        """Reserves, sends, and answers what the provider answers. Whatever it raises, nothing stays reserved unless the
        provider has taken the call."""
        size = first_size(quote)
        hold = await self._reserve(call, size)
        call.on_gone = None  # the provider works on, whoever waits
        opened, body, at = await self._send(call, entry, size)
        target, terms = entry.targets[at], quote.terms[at]
        status, headers = opened.answer.status, opened.answer.headers
        call.status, call.end = status, End.OK if status in _TAKEN else End.ERROR
        if status not in _TAKEN:
            await self._release(call)
            return BackgroundTurn(status, headers, body, available_ucr=hold.available_ucr + hold.held_ucr)
        answer = self._dialect.read_answer(body)
        if not answer.readable or not RESPONSE_ID.fullmatch(answer.provider_id):
            raise UpstreamBroken(
                "The provider took the call, but its answer is not the response it should be: nobody can ask for it. "
                "What is held for it is charged when its time is over.",
                upstream=target.upstream.name,
            )
        call.provider_id = answer.provider_id
        response = BackgroundResponse(
            org_id=call.caller.org_id,
            id=call.id,
            response_id=answer.provider_id,
            upstream=target.upstream.name,
            upstream_model=target.model,
            model=call.request.model,
            prices={"": target.prices, **target.service_tiers},
            service_tier=call.request.service_tier or "",
            prompt_tokens=terms.prompt_tokens(by_caller=True),
            held_ucr=hold.held_ucr,
            tags=call.tags,
        )
        await self._write_down(response)
        keeper = self._keeping.keeper(call, target.upstream.name)
        if keeper is not None:
            await keeper.read(body)
        await self.settle_if_ended(response, body)
        return BackgroundTurn(status, headers, body, available_ucr=hold.available_ucr)

    async def _send(self, call: Call, entry: CatalogueEntry, size: Size) -> tuple[Opened, bytes, int]:
        """To the first target that takes it, and which that was. Another is tried only where it was not taken for sure:
        who hangs up stops nothing that goes on in the background. Then its hold stays, and is charged at its time.
        """
        for at, target in enumerate(entry.targets):
            is_last = at == len(entry.targets) - 1
            opening = Opening(self._client, stream=False)
            call.sent_to(target)
            try:
                opened = await opening.run([self._attempt(call, target, size)], count=1)
                body = await _whole(opened, target)
            except UpstreamFailed as error:
                answered = opening.opened is not None and opening.opened.answer.status not in _TAKEN
                if not (answered or isinstance(error, UpstreamUnreachable)):
                    raise type(error)(f"{error} {_MAY_BE_TAKEN}", upstream=error.upstream) from error
                if is_last:
                    await self._release(call)
                    raise
            else:
                if is_last or not (opened.answer.status == _BUSY or opened.answer.status >= _BROKEN):
                    return opened, body, at
        raise AssertionError("the last target either answers or raises")

    async def _write_down(self, response: BackgroundResponse) -> None:
        """So that somebody asks for it. Raises LedgerUnavailable where the database stays away: then it is charged what
        it holds, at its time."""
        for tries_left in reversed(range(WRITE_TRIES)):
            try:
                await self._responses.open(response, life_s=self._life_s)
            except LedgerUnavailable:
                if not tries_left:
                    raise
                await asyncio.sleep(WRITE_AGAIN_S)
            else:
                return

    async def _reserve(self, call: Call, size: Size) -> OwnedHold:
        caller = call.caller
        payers = caller.payers(model=call.request.model, feature=call.feature)
        if not payers:
            raise nobody_pays(size)
        if await self._responses.count(caller.org_id) >= OPEN_MAX:
            raise TooManyOpen(
                f"{OPEN_MAX} responses go on in the background, which is all that may; nothing was reserved or sent."
            )
        await self._ledger.jobs.open(caller.org_id, call.id, kind=KIND, life_s=self._life_s)
        try:
            owner = Owner.job(caller.org_id, call.id)
            wish = OwnedWish(
                id=call.id,
                account_ids=payers,
                amount_ucr=size.amount_ucr,
                user_id=caller.user_id,
                key_id=caller.key_id,
                model=call.request.model,
                feature=call.feature,
            )
            (hold,) = await self._ledger.owned.reserve(owner, [wish], by=None)
            if not hold.held:
                raise hold.refusal(required_ucr=size.amount_ucr, undone="nothing was reserved or sent")
            await self._ledger.owned.extend(
                owner, call.id, at_least_ucr=hold.held_ucr, spent_ucr=hold.held_ucr, life_s=self._life_s, by=None
            )
        except BaseException:
            with suppress(TollgateError):  # where that fails too, it is charged at its time what its watermark says
                await self._release(call)
            raise
        call.reserved, call.held_ucr, call.send_limit = True, hold.held_ucr, size.send_limit
        return hold

    def _attempt(self, call: Call, target: Target, size: Size) -> Attempt:
        dialect = call.dialect
        body, _ = dialect.splice(call.request, target.model, target.upstream, size.send_limit)
        return Attempt(
            upstream=target.upstream,
            dialect=dialect.name,
            path=dialect.path,
            headers=call.forward_headers,
            body=body,
            new_meter=dialect.meter,
            strip_usage_chunk=False,
        )

    async def _release(self, call: Call) -> None:
        """Nothing is charged, because the provider took nothing."""
        org_id = call.caller.org_id
        with suppress(NotFound):  # it had not come to a reservation
            await self._ledger.owned.settle_used(Owner.job(org_id, call.id), call.id, NOTHING, by=None)
        await self._ledger.jobs.end(org_id, call.id)

    # --- the end ----------------------------------------------------------------------------------------------------

    async def poll(self) -> None:
        """Looks at those that are due, of any process."""
        room = asyncio.Semaphore(ASKED_AT_ONCE)

        async def look(response: BackgroundResponse) -> None:
            async with room:
                try:
                    await self._look(response)
                except (TollgateError, TimeoutError) as error:  # it is due again by itself
                    _log.warning("background.not_asked", id=str(response.id), error=str(error))
                except Exception:  # noqa: BLE001 - one must not keep the others waiting
                    _log.exception("background.failed", id=str(response.id))

        due = await self._responses.take_due(POLLED_AT_ONCE)
        async with asyncio.TaskGroup() as looks:
            for response in due:
                looks.create_task(look(response))

    async def settle_if_ended(self, response: BackgroundResponse, body: bytes) -> bool:
        """Whether `body`, the response as the provider has it now, is one that nothing more comes to; then it is
        settled. Again changes nothing."""
        if not self._storage.is_ended(body):
            return False
        answer = self._dialect.read_answer(body)
        if answer.provider_id != response.response_id:
            _log.warning("background.another", id=str(response.id), told=answer.provider_id[:64])
            return False
        usage = answer.usage
        if usage is None and answer.error and not answer.output_tokens:
            await self._settle(response, NOTHING)
            return True
        if usage is None:
            usage = Usage(prompt_tokens=response.prompt_tokens, output_tokens=answer.output_tokens, estimated=True)
        tier = answer.service_tier or response.service_tier
        cost = charge(response.prices.get(tier, response.prices[""]), usage)
        await self._settle(response, Used.by_model(response.model, cost, usage))
        return True

    async def _look(self, response: BackgroundResponse) -> None:
        upstream = self._upstreams.get(response.upstream)
        if upstream is not None:
            path = f"{self._dialect.path}/{response.response_id}"
            async with asyncio.timeout(ASKED_S):
                kept = await ask_whole(self._client, upstream, "GET", path, self._dialect.name)
            if kept.status == 200 and await self.settle_if_ended(response, kept.body):
                return
            if kept.status in GONE:
                await self._settle_for_all(response)
                return
        if response.expired:
            await self._settle_for_all(response)

    async def _settle_for_all(self, response: BackgroundResponse) -> None:
        """What it used will never be known: charged what it holds."""
        _log.warning("background.never_known", id=str(response.id), org=str(response.org_id), ucr=response.held_ucr)
        await self._settle(response, Used.plainly("unreported", price_ucr=1, quantity=response.held_ucr))

    async def _settle(self, response: BackgroundResponse, used: Used) -> None:
        owner = Owner.job(response.org_id, response.id)
        used = msgspec.structs.replace(used, tags=response.tags)
        try:
            ending = await self._ledger.owned.settle_used(owner, response.id, used, by=None)
        except (Conflict, NotFound) as error:  # settled already, by another who looked
            _log.info("background.settled_before", id=str(response.id), said=str(error))
        else:
            _log.info("background.settled", id=str(response.id), charge_ucr=ending.charged_ucr)
        with suppress(NotFound):
            await self._ledger.jobs.end(response.org_id, response.id)
        await self._responses.end(response)


async def _whole(opened: Opened, target: Target) -> bytes:
    """All of an answer, which repeats what may be long of the request. Raises UpstreamFailed."""
    assert opened.whole is not None
    answer, parts, size = opened.answer, [opened.whole], len(opened.whole)
    while not opened.ended:
        chunk = await answer.read(target.upstream.timeouts.idle_s)
        opened.ended = not chunk
        parts.append(chunk)
        size += len(chunk)
        if size > KEPT_BYTES_MAX:
            answer.abort()
            raise UpstreamBroken(
                f"The provider's answer has more than {KEPT_BYTES_MAX} bytes.", upstream=target.upstream.name
            )
    answer.release()
    return b"".join(parts)
