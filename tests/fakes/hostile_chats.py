"""Behaviours of a hostile upstream whose HTTP is in order, and whose chats are not."""

import asyncio
import contextlib
from typing import Final

from tests.fakes.hostile_behaviours import Behaviour
from tests.fakes.hostile_bytes import LAST_CHUNK, STREAM, STREAM_HEAD, USAGE, answer, chat, event, piece, stream
from tests.fakes.hostile_call import Call


async def reasons_until_told(call: Call) -> bool:
    """A role and then silence, as hidden reasoning looks from outside; what was thought as soon as `go_on` is set."""
    await call.send(STREAM_HEAD + piece(event("")))
    call.extra_sent.set()
    await call.go_on.wait()
    usage = USAGE | {"completion_tokens_details": {"reasoning_tokens": 2}}
    await call.send(piece(event("Hello")) + piece(event("", finish="stop")) + piece(event("", usage=usage)))
    await call.send(piece(b"data: [DONE]\n\n") + LAST_CHUNK)
    return True


async def says_more_when_told(call: Call) -> bool:
    """A word; as soon as `go_on` is set, five events of ten tokens each, and the end."""
    await call.send(STREAM_HEAD + piece(event("Hello")))
    await call.go_on.wait()
    for _ in range(5):
        await call.send(piece(event("more" * 10)))
    await call.send(piece(event("", finish="stop")) + piece(b"data: [DONE]\n\n") + LAST_CHUNK)
    return True


async def talks_without_end(call: Call) -> bool:
    """Events of 32 KiB, for ever."""
    with contextlib.suppress(ConnectionError):
        await call.send(STREAM_HEAD)
        while not call.stopping.is_set():
            await call.send(piece(event("t" * 2**15)))
    return False


async def ends_with_half_an_event(call: Call) -> bool:
    """Correct HTTP around a stream that ends in the middle of an event."""
    await call.send(stream(event("Hello"), event(" there")[:-40]))
    return True


async def redirects_with_an_answer(call: Call) -> bool:
    """307 to another place, with a chat completion for a body."""
    away = "location: http://192.0.2.1/steal\r\n"
    await call.send(answer(chat("stay"), status="307 Temporary Redirect", headers=away))
    return True


async def done_without_an_empty_line(call: Call) -> bool:
    """A whole stream, whose last event lacks the empty line that would end it."""
    await call.send(stream(event("Hello"), event("", finish="stop"), b"data: [DONE]"))
    return True


async def usage_without_an_empty_line(call: Call) -> bool:
    """A stream that ends by its finish reason, with its usage as the last event and no empty line after it."""
    await call.send(stream(event("Hello"), event("", finish="stop"), event("", usage=USAGE).rstrip()))
    return True


async def says_whose_account_it_is(call: Call) -> bool:
    """A correct answer, with all that the operator's account is told beside it."""
    private = (
        "set-cookie: account=of-the-operator\r\nopenai-organization: org-of-the-operator\r\nopenai-project: p\r\n"
        "x-ratelimit-limit-requests: 5000\r\nx-request-id: req_of_the_provider\r\nserver: provider\r\n"
        "openai-processing-ms: 12\r\nx-tollgate-credits-charged: 0\r\nconnection: x-secret\r\nx-secret: s\r\n"
    )
    if b'"stream":true' in call.request.body:
        await call.send(STREAM.replace(b"\r\n", b"\r\n" + private.encode(), 1))
    else:
        await call.send(answer(chat("yours"), headers=private))
    return False


async def empty(call: Call) -> bool:
    """200 and nothing."""
    await call.send(answer(b""))
    return True


CHATS: Final[dict[str, Behaviour]] = {
    name: thing
    for name, thing in list(globals().items())
    if asyncio.iscoroutinefunction(thing) and thing.__module__ == __name__
}
