"""The facts of a request for embeddings: how many inputs there are and what bounds their tokens."""

from typing import Final

from gateway.core.errors import InvalidRequest
from gateway.core.request_body import NULL, read_body
from gateway.core.text_inputs import read_text_inputs
from gateway.core.unstreamed.request import UnstreamedRequest, read_common

_DECIDING_KEYS: Final = frozenset({"input"})


def read_embeddings_request(body: bytes) -> UnstreamedRequest:
    """Raises InvalidRequest, whose `param` names the field."""
    try:
        _, values = read_body(body)
        common = read_common(values, _DECIDING_KEYS)
        inputs = read_text_inputs(values.get("input", NULL), "input", objects=True)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None
    return UnstreamedRequest(
        body=body,
        model=common.model,
        service_tier=common.service_tier,
        message_count=inputs.count,
        prompt_bytes=inputs.text_bytes,
        prompts=inputs.count,
        token_ids=inputs.token_ids,
    )
