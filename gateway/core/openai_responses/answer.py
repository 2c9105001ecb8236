"""What a whole (not streamed) response says about its cost. Never raises on odd answers."""

from typing import Any

import msgspec

from gateway.core.dialect import Answer
from gateway.core.estimate import text_tokens
from gateway.core.openai_chat.usage import ReportedUsage
from gateway.core.openai_responses.items import say
from gateway.core.openai_responses.usage import report
from gateway.core.output_text import OutputText


class Response(msgspec.Struct, gc=False):
    """The object that a whole answer is, and that a stream begins and ends with."""

    id: Any = None
    model: Any = None
    status: Any = None
    output: Any = None
    usage: Any = None
    service_tier: Any = None
    error: Any = None
    incomplete_details: Any = None
    conversation: Any = None


_RESPONSE = msgspec.json.Decoder(Response)


def read_response(body: bytes) -> Answer:
    try:
        answer = _RESPONSE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Answer(output_tokens=text_tokens(ascii_chars=len(body)), readable=False)
    said = OutputText()
    for item in answer.output if type(answer.output) is list else ():
        say(item, said)
    reported = ReportedUsage()
    report(answer.usage, reported)
    return Answer(
        usage=reported.usage(prompt_tokens=0, output_tokens=0) if reported.covers(said.tokens) else None,
        output_tokens=said.tokens,
        provider_id=answer.id if type(answer.id) is str else "",
        model=answer.model if type(answer.model) is str else "",
        finish_reason=finish_reason(answer),
        service_tier=answer.service_tier if type(answer.service_tier) is str else "",
        error=bool(answer.error),
    )


def finish_reason(answer: Response) -> str:
    """`completed`, `failed`, or why it is not complete: `max_output_tokens`, `content_filter`."""
    details = answer.incomplete_details
    reason = details.get("reason") if type(details) is dict else None
    if type(reason) is str and reason:
        return reason
    return answer.status if type(answer.status) is str else ""
