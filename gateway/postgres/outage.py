"""Which failures mean that the database is away, and how a room says so."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

import asyncpg

from gateway.core.errors import LedgerUnavailable

_AWAY_CLASSES: Final = frozenset({"08", "53", "55", "57", "58"})
"""SQLSTATE classes: connection, resources, object state (a database closed to us), operator intervention, system."""
_AWAY_STATES: Final = frozenset({"25006"})
"""A primary that became a standby: the next connection may find the new one."""

DRIVER_ERRORS: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""All that the driver raises. InternalClientError is also what a statement meets on a connection that the server has
just ended and whose end the driver has not read yet; nothing was sent then.
"""

P = ParamSpec("P")
T = TypeVar("T")


def is_outage(error: BaseException) -> bool:
    """True where nothing is wrong with what was asked. Whether it was done is not known."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state[:2] in _AWAY_CLASSES or state in _AWAY_STATES
    return isinstance(error, DRIVER_ERRORS) and not isinstance(error, asyncpg.DataError)


def unavailable_in_outage(method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The method raises LedgerUnavailable where the database is away, and its own errors else."""

    @wraps(method)
    async def translated(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except DRIVER_ERRORS as error:
            if not is_outage(error):
                raise
            raise LedgerUnavailable("The database does not answer right now; try again shortly.") from error

    return translated
