"""What an endpoint of /api is: a handler and all that is said of it. Routes, rights, checks, OpenAPI: all come of this.

    @endpoint("POST", "/api/orgs/{org_id}/keys", needs=Right.WRITE_KEYS, status=201)
    async def create(ask: Ask, org_id: UUID, body: NewKey) -> KeyView:
        \"\"\"A key, whose text is in this one answer.\"\"\"

A handler is called with what its parameters name: `ask`, the path's own by their names, `body`, `query`. Their types
are what the request is checked against and what the documentation shows; so is the type of the answer.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from types import NoneType
from typing import Any, Final, Literal, get_type_hints
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.errors import InvalidRequest, NotFound
from gateway.edge.requests import BODY_BYTES_MAX, in_words

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Handler = Callable[..., Awaitable[Any]]

_GIVEN: Final = frozenset({"ask", "body", "query"})
_PATH_PART: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    method: Method
    path: str
    """With `{name}` for a part, `{name:.+}` for one that may hold slashes."""
    needs: Right
    own_without: Right | None = None
    """A right for what is everybody's: who has not got it is shown their own alone."""
    status: int
    """Of the answer, where all went well."""
    summary: str
    """The first line of the handler's own text."""
    description: str
    """The rest of it."""
    path_types: Mapping[str, Any]
    body: Any = None
    query: Any = None
    answer: Any = None
    """None: the answer has no body."""
    content_type: str = "application/json"
    tagged: bool = False
    """The answer has an ETag, if there is something to change."""
    versioned: bool = False
    """If-Match is heeded."""
    body_bytes_max: int = BODY_BYTES_MAX
    handler: Handler

    @property
    def plain_path(self) -> str:
        """For people, and OpenAPI: `{name:.+}` as `{name}`."""
        return _PATH_PART.sub(r"{\1}", self.path)

    @property
    def changes(self) -> bool:
        """Something may be different afterwards: an Idempotency-Key is taken."""
        return self.method != "GET"

    @property
    def id(self) -> str:
        """`credits.add`: what clients that are made from the documentation call it."""
        return f"{self.handler.__module__.rpartition('.')[2]}.{self.handler.__name__}"

    @property
    def tag(self) -> str:
        """The noun: `credits` of `/api/credits/add`, `keys` of `/api/orgs/{org_id}/keys`."""
        parts = [part for part in self.path.removeprefix("/api/").split("/") if not part.startswith("{")]
        return parts[1] if parts[0] == "orgs" and len(parts) > 1 and parts[1] in _NOUNS_OF_ORGS else parts[0]


_NOUNS_OF_ORGS: Final = frozenset({"keys", "users", "budgets", "policy", "allocation-rules", "accounts"})


def endpoint(
    method: Method,
    path: str,
    *,
    needs: Right,
    own_without: Right | None = None,
    status: int = HTTPStatus.OK,
    content_type: str = "application/json",
    tagged: bool = False,
    versioned: bool = False,
    body_bytes_max: int = BODY_BYTES_MAX,
) -> Callable[[Handler], Endpoint]:
    def declare(handler: Handler) -> Endpoint:
        types = get_type_hints(handler, include_extras=True)
        answer = types.pop("return")
        text = inspect.getdoc(handler)
        assert text, f"{handler.__name__} says nothing of itself"
        summary, _, description = text.partition("\n\n")
        return Endpoint(
            method=method,
            path=path,
            needs=needs,
            own_without=own_without,
            status=int(status),
            summary=" ".join(summary.split()),
            description=description,
            path_types={name: type for name, type in types.items() if name not in _GIVEN},
            body=types.get("body"),
            query=types.get("query"),
            answer=None if answer is NoneType else answer,
            content_type=content_type,
            tagged=tagged,
            versioned=versioned,
            body_bytes_max=body_bytes_max,
            handler=handler,
        )

    return declare


def path_value(text: str, name: str, type: Any) -> Any:
    """A part of the path as its type. Raises NotFound for an id that is none, InvalidRequest for what does not fit."""
    if type is UUID:
        try:
            return UUID(text)
        except ValueError:
            raise NotFound(f"There is no {name.removesuffix('_id')} {text[:64]!r}.") from None
    try:
        return msgspec.convert(text, type, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            f"`{name}` is not valid: {in_words(str(error))}; nothing was changed.", param=name
        ) from None
