"""The address of a call: which model, and how a stream is to be told. Other dialects say both in the body.

Nothing of a caller's address reaches a provider: what is sent there is made anew, of characters without a meaning.
"""

import re
from typing import Final

from gateway.core.errors import InvalidRequest

VERSIONS: Final = ("v1beta", "v1")
"""Of Google's API, as SDKs ask for them; providers are asked for the one of their base URL."""
MODEL_CHARS_MAX: Final = 256
KEY_PARAMETER: Final = "key"

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._:@+~-]*+"
_MODEL: Final = re.compile(rf"{_NAME}(?:/{_NAME})*+")
_CALL: Final = re.compile(r"/[^/]+/models/(.+):[A-Za-z]+", re.DOTALL)
_UPSTREAM_MODEL: Final = re.compile(r"(?:models/)?([A-Za-z0-9][A-Za-z0-9._-]{0,127})")
_ALT: Final = frozenset({"alt", "$alt"})


def routes_of(*actions: str) -> tuple[str, ...]:
    """The URL table's patterns."""
    return tuple(f"/{version}/models/{{model}}:{action}" for version in VERSIONS for action in actions)


def model_in(target: str) -> str:
    """The model that a call's target (its path and query, as they came) names. Raises InvalidRequest."""
    named = _CALL.fullmatch(target.partition("?")[0])
    model = named[1] if named is not None else ""
    if len(model) > MODEL_CHARS_MAX or _MODEL.fullmatch(model) is None:
        raise InvalidRequest(
            f"The model in the path must be 1 to {MODEL_CHARS_MAX} letters, digits and `._:@+~-`, in one piece or in "
            "several between slashes, each beginning with a letter or a digit; nothing in it may be percent-encoded. "
            "Nothing was reserved or sent.",
            param="model",
        )
    return model


def wants_events(target: str) -> bool:
    """Whether a stream is asked for as events (`alt=sse`), not as one JSON array. Raises InvalidRequest for whatever
    else `alt` may be."""
    fields = [field.partition("=") for field in target.partition("?")[2].split("&")]
    asked = {value for name, _, value in fields if name in _ALT}
    if not (asked <= {"sse"} or asked <= {"json"}):
        raise InvalidRequest("`alt` must be `sse` or `json`; nothing was reserved or sent.", param="alt")
    return "sse" in asked


def upstream_path(model: str, action: str) -> str:
    """Where a call goes behind a provider's base URL. Raises InvalidRequest for a model that cannot be there."""
    named = _UPSTREAM_MODEL.fullmatch(model)
    if named is None:
        raise InvalidRequest(
            f"`{model[:128]}` is not a name that a model of this dialect can have; nothing was sent or charged.",
            param="model",
        )
    return f"/models/{named[1]}:{action}"
