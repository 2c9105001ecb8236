"""The facts of a request for Cohere's embeddings. Source: docs.cohere.com/reference/embed."""

from typing import Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.request_body import NULL, is_set, read_body
from gateway.core.text_inputs import INPUTS_MAX
from gateway.core.unstreamed.request import UnstreamedRequest, read_common

_MORE_THAN_TEXT: Final = ("images", "inputs")
_DECIDING_KEYS: Final = frozenset({"texts", *_MORE_THAN_TEXT})
_TEXTS: Final = msgspec.json.Decoder(list[str])


def read_embed_request(body: bytes) -> UnstreamedRequest:
    """Raises InvalidRequest, whose `param` names the field."""
    try:
        _, values = read_body(body)
        common = read_common(values, _DECIDING_KEYS)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None
    for name in _MORE_THAN_TEXT:
        if is_set(values, name):
            raise InvalidRequest(
                f"`{name}`: images have a price of their own, which is not metered yet; send `texts`. "
                "Nothing was reserved or sent.",
                param=name,
                code="image_not_priced",
            )
    texts = values.get("texts", NULL)
    try:
        count = len(_TEXTS.decode(texts))
    except msgspec.DecodeError:
        count = 0
    if not 0 < count <= INPUTS_MAX:
        raise InvalidRequest(f"`texts` must be an array of 1 to {INPUTS_MAX} texts.", param="texts")
    return UnstreamedRequest(
        body=body,
        model=common.model,
        service_tier=common.service_tier,
        message_count=count,
        prompt_bytes=len(memoryview(texts)),
        prompts=count,
    )
