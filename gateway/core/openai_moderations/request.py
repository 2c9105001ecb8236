"""The facts of a request for moderation: texts, or texts and images."""

from typing import Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import RawObject
from gateway.core.request_body import NULL, object_of, objects_of, read_body
from gateway.core.text_inputs import INPUTS_MAX, TextInputs, read_text_inputs, text_bytes
from gateway.core.unstreamed.request import UnstreamedRequest, read_common

DEFAULT_MODEL: Final = "omni-moderation-latest"
"""Which OpenAI takes where a request names none. It is written into the body, so that what is priced is what is
asked."""
_DECIDING_KEYS: Final = frozenset({"input"})
_STRING: Final = msgspec.json.Decoder(str)


class _Inputs(msgspec.Struct, gc=False):
    texts: TextInputs
    images: int = 0
    image_bytes: int = 0
    by_reference: bool = False


def read_moderations_request(body: bytes) -> UnstreamedRequest:
    """Raises InvalidRequest, whose `param` names the field."""
    try:
        _, values = read_body(body)
        common = read_common(values, _DECIDING_KEYS, default_model=DEFAULT_MODEL)
        inputs = _read_inputs(values.get("input", NULL))
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None
    return UnstreamedRequest(
        body=body,
        model=common.model,
        model_named=values.get("model", NULL) != NULL,
        service_tier=common.service_tier,
        message_count=inputs.texts.count,
        prompt_bytes=inputs.texts.text_bytes - inputs.image_bytes,
        prompts=inputs.texts.count,
        images=inputs.images,
        by_reference=inputs.by_reference,
    )


def _read_inputs(value: msgspec.Raw) -> _Inputs:
    if not bytes(value).startswith(b"[{"):
        texts = read_text_inputs(value, "input")
        if texts.token_ids:
            raise InvalidRequest("`input` must be texts, or parts of them and of images.", param="input")
        return _Inputs(texts)
    parts = objects_of(value, "input")
    if len(parts) > INPUTS_MAX:
        raise InvalidRequest(f"`input` has {len(parts)} parts, and a call may have {INPUTS_MAX}.", param="input")
    found = _Inputs(TextInputs(count=len(parts), text_bytes=len(memoryview(value))))
    for at, part in enumerate(parts):
        _read_part(part, f"input[{at}]", found)
    return found


def _read_part(part: RawObject, param: str, found: _Inputs) -> None:
    """A text, or an image: in the body, or by an address, whose tokens only the context window bounds."""
    if part.keys() == {"type", "text"}:
        text_bytes(part["text"], f"{param}.text")
        return
    if part.keys() != {"type", "image_url"}:
        raise InvalidRequest(f"`{param}` must have a `type`, and a `text` or an `image_url`.", param=param)
    image = object_of(part["image_url"], f"{param}.image_url")
    url = image.get("url", NULL)
    text_bytes(url, f"{param}.image_url.url")
    if (address := _STRING.decode(url)).startswith("data:image/") and image.keys() == {"url"}:
        found.images += 1
        found.image_bytes += len(address)
    else:
        found.by_reference = True
