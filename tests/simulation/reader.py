"""A caller who reads a stream as he pleases and counts what he got, in the tokens of the replay provider."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Literal
from uuid import UUID

import aiohttp

from tests.e2e.prices import charge_ucr
from tests.e2e.running import Customer, RunningGateway

MODEL: Final = "gpt-4o-mini"
TOKEN_CHARACTERS: Final = 4
"""Of the texts that `x-replay-output-tokens` makes."""

End = Literal["done", "error", "broken"]
"""`[DONE]`; an error event; the connection ended without either."""


def request(*, stream: bool = True, model: str = MODEL, **more: Any) -> dict[str, Any]:
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": "What is a toll?"}], **more}


def directions(**headers: object) -> dict[str, str]:
    """`output_tokens=5` is `x-replay-output-tokens: 5`."""
    return {f"x-replay-{name.strip('_').replace('_', '-')}": str(value) for name, value in headers.items()}


def output_ucr(tokens: int) -> int:
    """What so much output costs by itself."""
    return charge_ucr(MODEL, {"prompt_tokens": 0, "cached_tokens": 0, "cache_write_tokens": 0, "output_tokens": tokens})


class Reader:
    """One open stream. It takes no more from the connection than it is asked to read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._rest = b""
        self.status = response.status
        self.id = UUID(response.headers["x-request-id"])
        self.characters = 0
        self.usage: Mapping[str, Any] | None = None
        self.error: Mapping[str, Any] | None = None
        self.end: End | None = None

    @property
    def tokens(self) -> int:
        """Output tokens received, whole ones."""
        return self.characters // TOKEN_CHARACTERS

    async def read(self, *, tokens: int | None = None) -> End | None:
        """Until so many tokens have come, or the end."""
        assert self.status == 200, await self._response.text()
        while self.end is None and (tokens is None or self.tokens < tokens):
            await self.read_some()
        return self.end

    async def read_some(self) -> None:
        """Whatever comes next."""
        try:
            data = await self._response.content.readany()
        except (aiohttp.ClientError, ConnectionError):
            data = b""
        if not data:
            self.end = self.end or ("error" if self.error else "broken")
            return
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            self._observe(event)

    def _observe(self, event: bytes) -> None:
        data = event.removeprefix(b"data: ")
        if not event.startswith(b"data: "):
            return
        if data == b"[DONE]":
            self.end = "done"
            return
        try:
            chunk = json.loads(data)
        except ValueError:
            return  # garbage was asked for
        if chunk.get("error"):
            self.error = chunk["error"]
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk.get("choices", ()):
            self.characters += len(choice["delta"].get("content") or "")


@contextlib.asynccontextmanager
async def reading(
    gateway: RunningGateway, customer: Customer, body: Mapping[str, Any] | None = None, **asked: object
) -> AsyncIterator[Reader]:
    """A stream that has been answered; `asked` are directions for the provider. Leaving hangs up."""
    headers = {"authorization": f"Bearer {customer.api_key}", **directions(**asked)}
    url = f"{gateway.base_url}/chat/completions"
    async with gateway.session.post(url, json=body or request(), headers=headers) as response:
        yield Reader(response)
        if response.connection is not None:
            response.close()  # Whoever leaves in the middle hangs up.


async def chat_works(gateway: RunningGateway, customer: Customer) -> None:
    async with reading(gateway, customer, output_tokens=5) as reader:
        assert reader.status == 200
        assert await reader.read() == "done"
