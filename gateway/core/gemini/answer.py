"""What a whole answer says about its cost, be it one object or a stream that came as one array. Never raises."""

from typing import Final

import msgspec

from gateway.core.dialect import Answer
from gateway.core.estimate import text_tokens
from gateway.core.gemini.chunk import Chunk
from gateway.core.gemini.meter import GenerateMeter

_ANSWER: Final = msgspec.json.Decoder(Chunk | list[Chunk])


def read_generate_answer(body: bytes) -> Answer:
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Answer(output_tokens=text_tokens(ascii_chars=len(body)), readable=False)
    meter = GenerateMeter()
    chunks = answer if isinstance(answer, list) else [answer]
    for chunk in chunks:
        meter.add(chunk)
    return Answer(
        usage=meter.usage,
        output_tokens=meter.estimated_output_tokens,
        provider_id=meter.provider_id,
        model=meter.model,
        finish_reason=meter.finish_reason,
        service_tier=meter.service_tier,
        error=any(chunk.error for chunk in chunks),
    )
