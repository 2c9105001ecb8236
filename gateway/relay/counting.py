"""How long a prompt is, asked of a provider: free, so nothing is reserved; and for that very reason bounded."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from gateway.core.caller import Caller, KeyKind
from gateway.core.dialect import Dialect, Facts
from gateway.core.errors import ModelNotFound, TooManyRequests, UpstreamBroken
from gateway.core.translation.pairs import TRANSLATIONS
from gateway.relay.catalogue import CatalogueEntry, Target
from gateway.relay.offers import Offers
from gateway.relay.quoter import Quoter
from gateway.upstream.client import UpstreamClient
from gateway.upstream.failover import Attempt, Opening

AT_ONCE_MAX: Final = 16
"""Of one key."""
RETRY_AFTER_S: Final = 1.0


class Counted(msgspec.Struct, frozen=True):
    """The provider's answer, whatever it is."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    upstream: str
    """Empty where nobody was asked: it is our estimate."""


class TokenCounts:
    """Asks the targets of a model in order, as a call does."""

    def __init__(self, *, client: UpstreamClient, offers: Offers, quoter: Quoter) -> None:
        self._client = client
        self._offers = offers
        self._quoter = quoter
        self._open: Counter[str] = Counter()
        """By key."""

    async def ask(
        self,
        caller: Caller,
        dialect: Dialect,
        request: Facts,
        headers: list[tuple[str, str]],
        *,
        path_of: Callable[[str], str],
        told: Callable[[int], bytes],
    ) -> Counted:
        """`path_of` says where the question goes, of a target's name for the model; `told` is an answer of so many
        tokens, for a model whose calls are translated: only an estimate can be given of those.

        Raises ModelNotFound, InvalidRequest, Forbidden, TooManyRequests or UpstreamFailed.
        """
        if not caller.may_use(request.model):
            raise ModelNotFound(request.model)
        sandbox = caller.kind is KeyKind.SANDBOX
        entry = self._offers.catalogue.sandbox(request.model) if sandbox else self._offers.route(request.model)
        if not entry.admits(caller.org_id):
            raise ModelNotFound(request.model)
        if (target := _translated(entry, dialect)) is not None:
            return Counted(200, (), told(self._quoter.likely_prompt(request, target)), "")
        targets = entry.speaking(dialect.name).targets
        key = str(caller.key_id)
        if self._open[key] >= AT_ONCE_MAX:
            raise TooManyRequests(
                f"As many prompts of this key are being counted as may be at one time ({AT_ONCE_MAX}).",
                retry_after_s=RETRY_AFTER_S,
            )
        opening = Opening(self._client, stream=False)
        attempts = (
            Attempt(
                upstream=t.upstream,
                dialect=dialect.name,
                path=path_of(t.model),
                headers=headers,
                body=dialect.splice(request, t.model, t.upstream, None)[0],
                new_meter=dialect.meter,
            )
            for t in targets
        )
        self._open[key] += 1
        try:
            opened = await opening.run(attempts, count=len(targets))
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
        answer, name = opened.answer, targets[opened.attempt_index].upstream.name
        if not opened.ended or opened.whole is None:
            answer.abort()
            raise UpstreamBroken("The provider's count is longer than an answer may be.", upstream=name)
        answer.release()
        return Counted(answer.status, tuple(answer.headers), opened.whole, name)


def _translated(entry: CatalogueEntry, dialect: Dialect) -> Target | None:
    """The first that is asked in other words, where none is asked in the caller's."""
    if any(dialect.name in target.dialects for target in entry.targets):
        return None
    providers = {translation.provider for translation in TRANSLATIONS.get(dialect.name, ())}
    return next((target for target in entry.targets if providers & target.dialects), None)
