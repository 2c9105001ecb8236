"""What a whole (not streamed) answer of the Messages dialect says about its cost. Never raises on odd answers."""

from typing import Any, Final

import msgspec

from gateway.core.anthropic_messages.blocks import say
from gateway.core.anthropic_messages.usage import ReportedUsage
from gateway.core.dialect import Answer
from gateway.core.estimate import text_tokens
from gateway.core.output_text import OutputText


class _Message(msgspec.Struct, gc=False):
    id: Any = None
    model: Any = None
    content: Any = None
    stop_reason: Any = None
    usage: Any = None
    error: Any = None


_MESSAGE: Final = msgspec.json.Decoder(_Message)


def read_messages_answer(body: bytes) -> Answer:
    try:
        message = _MESSAGE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Answer(output_tokens=text_tokens(ascii_chars=len(body)), readable=False)
    said = OutputText()
    if type(message.content) is list:
        for block in message.content:
            say(block, said)
    reported = ReportedUsage()
    tier = None
    if type(message.usage) is dict:
        reported.add(message.usage, final=True)
        tier = message.usage.get("service_tier")
    return Answer(
        usage=reported.usage(prompt_tokens=0, output_tokens=0) if reported.covers(said.tokens) else None,
        output_tokens=said.tokens,
        provider_id=message.id if type(message.id) is str else "",
        model=message.model if type(message.model) is str else "",
        finish_reason=message.stop_reason if type(message.stop_reason) is str else "",
        service_tier=tier if type(tier) is str else "",
        error=bool(message.error),
    )
