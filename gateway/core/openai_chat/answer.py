"""What a whole (not streamed) chat or completion of OpenAI's says about its cost. Never raises on odd answers."""

from typing import Any

import msgspec

from gateway.core.dialect import Answer
from gateway.core.estimate import text_tokens
from gateway.core.openai_chat.usage import ReportedUsage, usage_objects
from gateway.core.output_text import OutputText


class _Choice(msgspec.Struct, gc=False):
    message: Any = None
    text: Any = None
    """In place of a message, in the older dialect of completions."""
    finish_reason: Any = None


class _Answer(msgspec.Struct, gc=False):
    id: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    service_tier: Any = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)


def read_chat_answer(body: bytes) -> Answer:
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Answer(output_tokens=text_tokens(ascii_chars=len(body)), readable=False)
    said = OutputText()
    finish_reason = ""
    for choice in answer.choices or ():
        if isinstance(choice.message, dict):
            said.add(choice.message)
        elif choice.text:
            said.say(choice.text)
        if not finish_reason and type(choice.finish_reason) is str:
            finish_reason = choice.finish_reason
    reported = ReportedUsage()
    for fields in usage_objects(answer.usage, answer.x_groq):
        reported.add(fields)
    said_tokens = said.tokens
    return Answer(
        usage=reported.usage(prompt_tokens=0, output_tokens=0) if reported.covers(said_tokens) else None,
        output_tokens=said_tokens,
        provider_id=answer.id if type(answer.id) is str else "",
        model=answer.model if type(answer.model) is str else "",
        finish_reason=finish_reason,
        service_tier=answer.service_tier if type(answer.service_tier) is str else "",
        error=bool(answer.error),
    )
