"""Requests to /api as typed values: strict, bounded, and every refusal names its field."""

import ast
import re
from datetime import date, datetime, timedelta
from functools import cache
from typing import Annotated, Any, Final, TypeVar

import msgspec
from aiohttp import web

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import Ambiguous, read_object
from gateway.core.tags import TAG_PATTERN
from gateway.core.units import AmountInvalid, credits_text, ucr_from_text
from gateway.edge.bodies import Body, BodyBudget, BodyLimits

BODY_BYTES_MAX: Final = 64 * 1024
PAGE_ROWS_MAX: Final = 200
OFFSET_MAX: Final = 1_000_000

# One line of text that is not blank. Postgres refuses NUL, and the other control characters have no place in a name.
Line = Annotated[
    str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s][^\x00-\x1f\x7f]*$")
]
INSTANT_YEAR_MIN: Final = 1970
INSTANT_YEAR_MAX: Final = 8999
"""As it is written, whatever its offset: nearer to a calendar's ends an offset leads out of what can be counted."""
Instant = Annotated[
    datetime,
    msgspec.Meta(
        tz=True,
        description=f"An instant as RFC 3339 writes it, of the years {INSTANT_YEAR_MIN} to {INSTANT_YEAR_MAX}, with an "
        "offset of less than 16 hours.",
        extra_json_schema={"pattern": r"^(19[7-9][0-9]|[2-8][0-9]{3})-.*([Zz]|[+-](0[0-9]|1[0-5]):[0-9]{2})$"},
    ),
]
"""Its years are checked by `body_as` and `read_query`."""
Day = Annotated[
    date,
    msgspec.Meta(
        description=f"A day of the years {INSTANT_YEAR_MIN} to {INSTANT_YEAR_MAX}.",
        extra_json_schema={"pattern": r"^(19[7-9][0-9]|[2-8][0-9]{3})-"},
    ),
]
"""Likewise."""
Limit = Annotated[int, msgspec.Meta(ge=1, le=PAGE_ROWS_MAX)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=OFFSET_MAX)]

_AMOUNT_PATTERN: Final = r"^[0-9]{1,10}(\.[0-9]{1,6})?$"
_AMOUNT: Final = re.compile(_AMOUNT_PATTERN)
Amount = Annotated[
    msgspec.Raw,
    msgspec.Meta(
        description="Credits above 0, as a decimal string or a number, with at most 6 places; taken exactly.",
        examples=["2.5"],
        extra_json_schema={
            "anyOf": [
                {"type": "string", "pattern": _AMOUNT_PATTERN},
                {"type": "number", "exclusiveMinimum": 0},
            ]
        },
    ),
]
"""Read by `amount_ucr`."""

AmountOrNone = Annotated[
    msgspec.Raw,
    msgspec.Meta(
        description="Credits from 0, as a decimal string or a number, with at most 6 places; taken exactly.",
        examples=["2.5"],
        extra_json_schema={
            "anyOf": [
                {"type": "string", "pattern": _AMOUNT_PATTERN},
                {"type": "number", "minimum": 0},
            ]
        },
    ),
]
"""Read by `amount_ucr` with `least_ucr` 0."""


AmountOrNull = Annotated[
    msgspec.Raw,
    msgspec.Meta(
        description="Credits from 0, as a decimal string or a number, with at most 6 places; taken exactly. Null is as "
        "left out.",
        examples=["2.5"],
        extra_json_schema={
            "anyOf": [
                {"type": "string", "pattern": _AMOUNT_PATTERN},
                {"type": "number", "minimum": 0},
                {"type": "null"},
            ]
        },
    ),
]
"""Read by `amount_ucr` with `least_ucr` 0, where `is_said`."""


def is_said(amount: msgspec.Raw) -> bool:
    """Given, and not null."""
    return bytes(amount) not in (b"", b"null")


def left_out() -> msgspec.Raw:
    """The default of an amount that need not be given: `field(default_factory=left_out)`, and `not bytes(amount)`."""
    return msgspec.Raw()


T = TypeVar("T")
Query = TypeVar("Query", bound=msgspec.Struct)


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a plain list."""

    limit: Limit = 50
    offset: Offset = 0


async def read_body(request: web.Request, type: type[T], *, bytes_max: int = BODY_BYTES_MAX) -> T:
    """The body as `type`. Raises InvalidRequest and what edge/bodies.py raises."""
    body = Body(BodyBudget(BodyLimits(body_bytes_max=bytes_max)))
    try:
        data = await body.read(request)
    finally:
        body.close()
    return body_as(data, type)


def body_as(data: bytes, type: type[T]) -> T:
    """JSON as `type`: unknown and repeated fields are refused. Raises InvalidRequest."""
    try:
        read_object(data)
        made = msgspec.json.decode(data, type=type)
    except Ambiguous as error:
        raise invalid(error.key or "body", "is given more than once, or in two spellings") from None
    except msgspec.ValidationError as error:
        raise _named(str(error)) from None
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest("The request body must be a JSON object; nothing was changed.") from None
    _check_years(made, "")
    return made


def read_query(request: web.Request, type: type[Query]) -> Query:
    """The query as `type`. Unknown and repeated parameters are refused. Raises InvalidRequest."""
    query = request.query
    if len(query) != len(set(query)):
        twice = next(name for name in query if len(query.getall(name)) > 1)
        raise invalid(twice, "is given more than once")
    for name in _instants(type):
        # Not strict, a number is a Unix time; but no document says of which unit.
        if name in query and _DAY_AND_TIME.match(query[name]) is None:
            raise invalid(name, "must be an instant as RFC 3339 writes it, such as 2026-01-31T12:00:00Z")
    try:
        made = msgspec.convert(dict(query), type, strict=False)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from None
    for field in msgspec.structs.fields(type):
        # Not strict, the word is None too: a filter that somebody had nothing for would be none, and all be shown.
        if query.get(field.encode_name, "").lower() == "null" and getattr(made, field.name) is None:
            raise invalid(field.encode_name, "must be left out where nothing is meant")
    _check_years(made, "")
    return made


def amount_ucr(raw: msgspec.Raw, *, field: str, least_ucr: int = 1) -> int:
    """A decimal string or a JSON number of credits, taken exactly → µcr. Raises InvalidRequest."""
    text = bytes(raw).decode()
    if is_text := text.startswith('"'):
        text = msgspec.json.decode(text, type=str)
    elif not text.startswith(tuple("-0123456789")):
        raise invalid(field, "must be a decimal string or a number of credits")
    try:
        ucr = ucr_from_text(text)
    except AmountInvalid as error:
        raise invalid(field, str(error)) from None
    if is_text and _AMOUNT.fullmatch(text) is None:
        raise invalid(field, "must be decimal digits, such as 2.5: at most 10, a point, and at most 6 more")
    if ucr < least_ucr:
        raise invalid(field, f"must be above 0: at least {credits_text(1)} credits")
    return ucr


def invalid(field: str, problem: str) -> InvalidRequest:
    """`invalid("limit", "must be …")`; the message names the field, which came from outside and may be long."""
    name = field[:_NAME_CHARS_MAX]
    return InvalidRequest(f"`{name}` {problem}; nothing was changed.", param=name)


def _check_years(value: Any, path: str) -> None:
    """Raises InvalidRequest for a day or an instant, anywhere in what was asked, that is out of bounds."""
    if isinstance(value, date):
        if not INSTANT_YEAR_MIN <= value.year <= INSTANT_YEAR_MAX:
            raise invalid(path, f"must be of the years {INSTANT_YEAR_MIN} to {INSTANT_YEAR_MAX}")
        if isinstance(value, datetime) and abs(value.utcoffset() or timedelta()) >= _OFFSET_END:
            raise invalid(path, "must have an offset of less than 16 hours")  # as Postgres reads it
    elif isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            inside = f"{path}.{field.encode_name}" if path else field.encode_name
            _check_years(getattr(value, field.name), inside)
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            _check_years(one, f"{path}[{index}]")


_OFFSET_END: Final = timedelta(hours=16)


@cache
def _instants(type: type[msgspec.Struct]) -> frozenset[str]:
    """The names of a query's parameters that are instants."""
    return frozenset(
        field.encode_name for field in msgspec.structs.fields(type) if field.type in (Instant, Instant | None)
    )


_DAY_AND_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:")
_NAME_CHARS_MAX: Final = 64
_MESSAGE: Final = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<path>.*)`)?", re.DOTALL)
_FIELD: Final = re.compile(r"Object (?P<problem>contains unknown|missing required) field `(?P<field>.*)`", re.DOTALL)


_REGEX: Final = re.compile(r"matching regex (?P<quoted>'.*'|\".*\")", re.DOTALL)
_WORDS: Final = {
    r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s][^\x00-\x1f\x7f]*$": "that is not blank and has no control characters",
    r"^[^\x00-\x1f\x7f]+$": "without control characters",
    r"^[^\x00-\x1f\x7f]*$": "without control characters",
    r"^[^\x00]*$": "without the character NUL",
    r"^[^\x00-\x1f\x7f/]+$": "without slashes and control characters",
    r"^[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+$": "that is an address such as anna@example.com, without blanks",
    r"^[A-Za-z0-9_-]+$": "of letters, digits, `_` and `-`",
    r"^[A-Z][A-Z0-9_]{0,63}$": "of 1 to 64 capital letters, digits and `_` that begins with a letter",
    r"^[a-z_]{1,32}$": "of 1 to 32 small letters and `_`",
    r"^[a-z_]{1,32}\.[a-z_]{1,32}$": "of two words of small letters and `_` with a dot between them",
    r"^[a-z0-9][a-z0-9_-]{0,63}$": "of 1 to 64 small letters, digits, `_` and `-` that begins with a letter or a digit",
    r"^[!-~]{1,255}$": "of 1 to 255 visible ASCII characters",
    r"^[!-~]{1,200}$": "of 1 to 200 visible ASCII characters",
    TAG_PATTERN: "of 1 to 64 visible ASCII characters but the comma",
}
"""What each pattern asks for, in place of itself."""


def in_words(message: str) -> str:
    """msgspec's message with what a pattern asks for in place of the pattern."""
    return _REGEX.sub(lambda found: _WORDS.get(ast.literal_eval(found["quoted"]), "of another form"), message)


def _named(message: str) -> InvalidRequest:
    """msgspec's message, where a field is named at the end if at all, as ours, where it comes first."""
    parts = _MESSAGE.fullmatch(message)
    assert parts is not None
    what, path = parts["what"], parts["path"] or ""
    what = in_words(what)
    field = _FIELD.fullmatch(what)
    if field is not None:
        name = f"{path}.{field['field']}" if path else field["field"]
        return invalid(name, "is not known here" if field["problem"] == "contains unknown" else "is required")
    if path:
        return invalid(path, f"is not valid: {what[0].lower()}{what[1:]}")
    return InvalidRequest(f"The request body is not valid: {what[0].lower()}{what[1:]}; nothing was changed.")
