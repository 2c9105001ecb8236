"""Our own count, put where a chat has told no usage: local servers often do not, and the charge goes by it."""

from typing import Final

import msgspec

from gateway.core.sse import SseEvent
from gateway.core.usage import Usage

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def answer_with_usage(body: bytes, usage: Usage) -> bytes:
    """A whole answer; what is no JSON object stays for others to refuse."""
    try:
        fields = _FIELDS.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body
    fields["usage"] = msgspec.Raw(_object(usage))
    return msgspec.json.encode(fields)


def chunk_of_usage(usage: Usage) -> SseEvent:
    data = b'{"choices":[],"usage":%b}' % _object(usage)
    return SseEvent(b"data: %b\n\n" % data, data)


def _object(usage: Usage) -> bytes:
    return msgspec.json.encode(
        {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.prompt_tokens + usage.output_tokens,
        }
    )
