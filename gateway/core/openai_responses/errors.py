"""How the Responses dialect tells of an error in a stream. In a body it is OpenAI's error object."""

from typing import Final

import msgspec

from gateway.core.dialect import Broken

_SEQUENCE_NUMBER: Final = 0
"""An event must have one. Which would be next is not counted: clients stop at an error, whatever its number."""


def last_frames(broken: Broken) -> bytes:
    """The dialect's own error event. SDKs hand it out as an event like others, and raise only on a key `error`: so it
    has both."""
    error = broken.error
    told = {
        "type": "error",
        "sequence_number": _SEQUENCE_NUMBER,
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code},
    }
    return b"event: error\ndata: " + msgspec.json.encode(told) + b"\n\n"
