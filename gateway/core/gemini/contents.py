"""What the contents of a request make the model read: whether their bytes bound it, and what they only name."""

import re
from typing import Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.gemini.spelling import Keys, one_or_many
from gateway.core.json_object import RawObject
from gateway.core.request_body import NULL, not_yours, object_of

PARTS_MAX: Final = 20_000
"""Of one request, with those inside the answers of functions."""

_STRING: Final = msgspec.json.Decoder(str)
_QUOTE: Final = b'"'[0]
_CONTENT: Final = Keys({"role", "parts"})
_PART: Final = Keys({"text", "inlineData", "fileData", "functionResponse"})
_BLOB: Final = Keys({"mimeType", "data"})
_FILE: Final = Keys({"fileUri"})
_RESPONSE: Final = Keys({"parts"})
_WHOLE: Final = frozenset(
    {
        "text",
        "thought",
        "thoughtSignature",
        "thought_signature",
        "functionCall",
        "function_call",
        "functionResponse",
        "executableCode",
        "executable_code",
        "codeExecutionResult",
        "code_execution_result",
        "toolCall",
        "tool_call",
        "toolResponse",
        "tool_response",
        "mediaResolution",
        "media_resolution",
        "inlineData",
        "fileData",
    }
)
"""Keys of a part whose bytes are all that is read of them, or that are looked into. Any other may name something."""
_ADDRESS: Final = re.compile(r"https?://([A-Za-z0-9.-]++)(?::[0-9]++)?(?:[/?#].*)?", re.IGNORECASE | re.DOTALL)
_PUBLIC_HOST: Final = "storage.googleapis.com"


class Contents(msgspec.Struct, gc=False):
    count: int = 0
    parts: int = 0
    images: int = 0
    image_bytes: int = 0
    audio: bool = False
    by_reference: bool = False


def read_contents(value: msgspec.Raw, param: str, found: Contents) -> None:
    """One content or an array of them, which `found` then counts. Raises InvalidRequest.

    Texts in their place are left to the provider: SDKs wrap them before they send.
    """
    for at, content in enumerate(one_or_many(value, param)):
        found.count += 1
        read_parts(_CONTENT.read(content, param).get("parts", NULL), f"{param}[{at}].parts", found)


def read_parts(value: msgspec.Raw, param: str, found: Contents, *, nested: bool = False) -> None:
    parts = one_or_many(value, param)
    found.parts += len(parts)
    if found.parts > PARTS_MAX:
        raise InvalidRequest(f"More than {PARTS_MAX} parts.", param=param)
    for at, part in enumerate(parts):
        if part.keys() != {"text"}:
            _read_part(_PART.read(part, param), f"{param}[{at}]", found, nested=nested)


def _read_part(part: RawObject, param: str, found: Contents, *, nested: bool) -> None:
    if not part.keys() <= _WHOLE:
        found.by_reference = True  # a film's frames, or what is not known yet
    if part.get("inlineData", NULL) != NULL:
        _read_blob(part["inlineData"], f"{param}.inlineData", found)
    if part.get("fileData", NULL) != NULL:
        _read_file(part["fileData"], f"{param}.fileData", found)
    response = part.get("functionResponse", NULL)
    if response != NULL:
        param = f"{param}.functionResponse"
        if nested:
            raise InvalidRequest(f"`{param}` is nested too deeply.", param=param)
        inner = _RESPONSE.read(object_of(response, param), param).get("parts", NULL)
        read_parts(inner, f"{param}.parts", found, nested=True)


def _read_blob(value: msgspec.Raw, param: str, found: Contents) -> None:
    blob = _BLOB.read(object_of(value, param), param)
    kind = _text(blob.get("mimeType", NULL), f"{param}.mimeType").casefold().strip()
    if kind.startswith("image/"):
        found.images += 1
        found.image_bytes += len(memoryview(blob.get("data", NULL)))
    elif kind.startswith("audio/"):
        found.audio = True
    elif kind != "text/plain":
        found.by_reference = True  # documents of many pages, films


def _read_file(value: msgspec.Raw, param: str, found: Contents) -> None:
    """What lies at the provider, or behind its account, may be anybody's; what everybody can read is read by
    reference."""
    uri = _text(_FILE.read(object_of(value, param), param).get("fileUri", NULL), f"{param}.fileUri")
    address = _ADDRESS.fullmatch(uri)
    if address is None or _is_googles(address[1].lower().rstrip(".")):
        raise not_yours(f"{param}.fileUri")
    found.by_reference = True


def _is_googles(host: str) -> bool:
    """A host whose answers go by who asks."""
    return host != _PUBLIC_HOST and (
        host == "googleapis.com" or host.endswith((".googleapis.com", ".cloud.google.com"))
    )


def _text(value: msgspec.Raw, param: str) -> str:
    if value == NULL:
        return ""
    if memoryview(value)[0] != _QUOTE:
        raise InvalidRequest(f"`{param}` must be a string.", param=param)
    return _STRING.decode(value)
