"""Responses that providers keep: shown, called off and deleted for whom they were made, and for nobody else."""

from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from gateway.core.caller import Caller, KeyKind
from gateway.core.dialect import Dialect
from gateway.core.errors import Conflict, NotFound, TooManyRequests, UpstreamUnavailable
from gateway.relay.background import BackgroundCalls
from gateway.relay.catalogue import REPLAY
from gateway.stored.background import BackgroundResponses
from gateway.stored.objects import RESPONSE_ID, StoredObjects
from gateway.upstream.client import UpstreamClient
from gateway.upstream.kept import KeptAnswer, ask_whole
from gateway.upstream.registry import Upstream

Act = Literal["retrieve", "input_items", "cancel", "delete"]
_METHODS: Final[Mapping[Act, tuple[str, str]]] = {
    "retrieve": ("GET", ""),
    "input_items": ("GET", "/input_items"),
    "cancel": ("POST", "/cancel"),
    "delete": ("DELETE", ""),
}
AT_ONCE_MAX: Final = 16
"""Of one key, as they cost nothing."""
RETRY_AFTER_S: Final = 1.0


class Shown(msgspec.Struct, frozen=True):
    """The provider's answer, whatever it is."""

    answer: KeptAnswer
    upstream: str


class StoredResponses:
    def __init__(
        self,
        *,
        client: UpstreamClient,
        objects: StoredObjects,
        responses: BackgroundResponses,
        background: BackgroundCalls,
        upstreams: Mapping[str, Upstream],
        dialect: Dialect,
    ) -> None:
        self._client = client
        self._objects = objects
        self._responses = responses
        self._background = background
        self._upstreams = upstreams
        self._dialect = dialect
        self._open: Counter[str] = Counter()
        """By key."""

    async def ask(self, caller: Caller, act: Act, response_id: str, *, query: str = "") -> Shown:
        """`query` is as it goes in an address. What the provider tells of one that goes on is settled before the
        caller is told.

        Raises NotFound, Conflict, TooManyRequests, LedgerUnavailable or UpstreamFailed.
        """
        key = str(caller.key_id)
        if self._open[key] >= AT_ONCE_MAX:
            raise TooManyRequests(
                f"As many stored responses are asked for with this key as may be at one time ({AT_ONCE_MAX}).",
                retry_after_s=RETRY_AFTER_S,
            )
        self._open[key] += 1
        try:
            return await self._ask(caller, act, response_id, query)
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    async def _ask(self, caller: Caller, act: Act, response_id: str, query: str) -> Shown:
        upstream = await self._upstream_of(caller, response_id)
        going_on = await self._responses.find(caller.org_id, response_id)
        if act == "delete" and going_on is not None:
            shown = await self._send(upstream, "retrieve", response_id)
            if shown.status != 200 or not await self._background.settle_if_ended(going_on, shown.body):
                raise Conflict("The response goes on in the background: cancel it first. Nothing was deleted.")
            going_on = None
        answer = await self._send(upstream, act, response_id, query)
        if going_on is not None and answer.status == 200 and act in ("retrieve", "cancel"):
            await self._background.settle_if_ended(going_on, answer.body)
        if act == "delete" and answer.status in (200, 404):
            await self._objects.forget(caller.org_id, response_id)
        return Shown(answer, upstream.name)

    async def _upstream_of(self, caller: Caller, response_id: str) -> Upstream:
        found = None
        if RESPONSE_ID.fullmatch(response_id):
            found = (await self._objects.find(caller.org_id, [response_id])).get(response_id)
        if found is None or found.kind != "response":
            raise NotFound(f"Response with id '{response_id[:64]}' not found.")
        upstream = self._upstreams.get(found.upstream)
        if upstream is None:
            raise UpstreamUnavailable(
                "The upstream that keeps this response is not configured any longer.", upstream=found.upstream
            )
        if (caller.kind is KeyKind.SANDBOX) != (upstream.provider == REPLAY):
            raise NotFound(f"Response with id '{response_id[:64]}' not found.")
        return upstream

    async def _send(self, upstream: Upstream, act: Act, response_id: str, query: str = "") -> KeptAnswer:
        method, behind = _METHODS[act]
        path = f"{self._dialect.path}/{response_id}{behind}" + (f"?{query}" if query else "")
        return await ask_whole(self._client, upstream, method, path, self._dialect.name)
