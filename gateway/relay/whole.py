"""An answer that is not streamed: read to its end (or its first megabyte), metered by its own usage, settled."""

import msgspec

from gateway.core.answer_tail import TAIL_BYTES, last_members
from gateway.core.dialect import Answer
from gateway.core.errors import UpstreamBroken
from gateway.core.translation.fields import UnreadableAnswer
from gateway.core.translation.pairs import Translation
from gateway.core.usage import Usage
from gateway.ledger.calls import End
from gateway.relay.call import Call
from gateway.relay.catalogue import Target
from gateway.relay.keeping import Keeper
from gateway.relay.reservation import Reservation
from gateway.relay.ways import Way
from gateway.upstream.failover import Opened

METERED_BYTES_MAX = 64 * 1024 * 1024
"""A larger answer is still relayed; its usage is then what its last bytes say, or our own estimate."""


class WholeTurn:
    """An answer with a length. `body` is all of it when `complete`; else iterate for the rest. `close` it always."""

    def __init__(
        self,
        call: Call,
        reservation: Reservation,
        target: Target,
        opened: Opened,
        *,
        way: Way,
        prompt_tokens: int,
        output_max: int,
        keeper: Keeper | None = None,
    ) -> None:
        assert opened.whole is not None
        self.call = call
        self.target = target
        self.reservation = reservation
        self.status = opened.answer.status
        self.upstream_headers = opened.answer.headers
        self.content_length = opened.answer.content_length
        self.body = opened.whole
        self.complete = opened.ended
        self._keeper = keeper
        self._dialect = way.dialect
        self._answer = opened.answer
        self._idle_s = target.upstream.timeouts.idle_s
        self._prompt_tokens = prompt_tokens
        self._output_max = output_max
        self._kept = [opened.whole]
        self._kept_bytes = len(opened.whole)
        self._tail = b""
        """The last bytes of a large one: where the whole is not kept, they may say what was used."""
        call.status = opened.answer.status
        call.on_gone = None
        if way.translation is not None:
            self._translate(opened.whole, way.translation)
        if self.complete and not self._settle(opened.whole):
            reservation.release(End.ERROR, target)
            raise UpstreamBroken(
                "The provider's answer is not the JSON object it should be; nothing was charged.",
                upstream=target.upstream.name,
            )

    async def keep(self) -> None:
        """Before the caller reads it: what it says is kept is his. Raises LedgerUnavailable."""
        if self._keeper is not None and self.complete and self.status < 400:
            await self._keeper.read(b"".join(self._kept))

    @property
    def available_ucr(self) -> int:
        """What the account had left for other calls when this one last reserved."""
        return self.reservation.available_ucr

    def __aiter__(self) -> "WholeTurn":
        return self

    async def __anext__(self) -> bytes:
        """The rest of a large body, piece by piece; it is settled before its end is known to the caller."""
        if self.complete:
            raise StopAsyncIteration
        chunk = await self._answer.read(self._idle_s)
        if not chunk:
            self.complete = True
            self._answer.release()
            if not self._settle(b"".join(self._kept) if self._kept_bytes <= METERED_BYTES_MAX else None):
                self._settle(None)  # it makes no sense, but it was delivered
            await self.keep()
            raise StopAsyncIteration
        self._kept_bytes += len(chunk)
        self._tail = (self._tail + chunk)[-TAIL_BYTES:]
        if self._kept_bytes <= METERED_BYTES_MAX:
            self._kept.append(chunk)
        return chunk

    def close(self) -> None:
        """Ends the call if it has not ended: the upstream broke off in the middle of a large answer."""
        if self.reservation.ended:
            return
        self._answer.abort()
        # A part of a JSON text cannot be read for its usage: four bytes a token.
        end = End.CANCELLED if self.call.gone else End.ERROR
        self.reservation.charge(end, self._estimated(self._kept_bytes // 4), self.target)

    def _settle(self, body: bytes | None) -> bool:
        """None where the answer was too large to keep: its end may say its usage, else an estimate. False: none."""
        if self.status >= 400:
            self.reservation.release(End.ERROR, self.target)
            return True
        gone = End.CANCELLED if self.call.gone else None
        answer = self._read_tail() if body is None else self._dialect.read_answer(body)
        if answer is None:
            self.reservation.charge(gone or End.ESTIMATED, self._estimated(self._kept_bytes // 4), self.target)
            return True
        if not answer.readable:
            return False
        self.call.finish_reason = answer.finish_reason
        if answer.usage is not None:
            usage = self._with_tokens(answer.usage)
            ok = End.ESTIMATED if usage.estimated else End.OK
            self.reservation.charge(gone or ok, usage, self.target, said=answer)
        elif answer.output_tokens == 0:
            self.reservation.release(End.ERROR, self.target)  # an error object, or nothing, under a 200
        else:
            usage = self._estimated(answer.output_tokens)
            self.reservation.charge(gone or End.ESTIMATED, usage, self.target, said=answer)
        return True

    def _translate(self, body: bytes, translation: Translation) -> None:
        """Raises UpstreamBroken, with the call ended, where that is not possible."""
        call, name = self.call, self.target.upstream.name
        kept = [each for each in self.upstream_headers if each[0] not in ("content-type", "content-length")]
        self.upstream_headers = [("content-type", "application/json"), *kept]
        if not self.complete:
            self.close()
            raise UpstreamBroken("The provider's answer is too long to be translated; it is charged.", upstream=name)
        if self.status >= 400:
            error = translation.error(self.status, body, str(call.id))
            self.status, self.body = error.status, error.body
            return
        try:
            self.body = translation.answer(self._counted(body, translation), call.started_unix_ms // 1000).body
        except UnreadableAnswer as error:
            if not self._settle(body):
                self.reservation.release(End.ERROR, self.target)
            charged = "What the provider reports is charged" if self.call.charged_ucr else "Nothing was charged"
            raise UpstreamBroken(f"{error} {charged}.", upstream=name) from None

    def _counted(self, body: bytes, translation: Translation) -> bytes:
        answer = self._dialect.read_answer(body)
        if answer.usage is not None or not answer.output_tokens:
            return body
        return translation.counted(body, self._estimated(answer.output_tokens))

    def _read_tail(self) -> Answer | None:
        for members in last_members(self._tail):
            answer = self._dialect.read_answer(members)
            if (
                answer.readable
                and answer.usage is not None
                and (answer.usage.prompt_tokens or answer.usage.search_units)
            ):
                return answer
        return None

    def _with_tokens(self, usage: Usage) -> Usage:
        """What was counted in units of a search alone, for a price that goes by tokens."""
        if usage.search_units is None or usage.prompt_tokens or not self.target.prices.tiers[0].input_ucr:
            return usage
        return msgspec.structs.replace(usage, prompt_tokens=self._prompt_tokens, estimated=True)

    def _estimated(self, output_tokens: int) -> Usage:
        """Never above the limit that was sent: more cannot have been billed."""
        output = min(output_tokens, self._output_max)
        return Usage(prompt_tokens=self._prompt_tokens, output_tokens=output, estimated=True)
