"""Which failures of Postgres mean "again" and which mean "this item": the batcher's two ways out."""

from typing import Final

import asyncpg

from gateway.postgres.outage import is_outage

_DATA_CLASSES: Final = frozenset({"22", "23", "54"})
"""SQLSTATE classes: data exceptions, constraint violations, and limits such as the size of an index entry."""
_ROLLED_BACK: Final = "40"
_LOCK_TIMEOUT: Final = "55P03"
_STATEMENT_TIMEOUT: Final = "57014"


def is_passing(error: BaseException) -> bool:
    """True where nothing is wrong with what was asked: the same ids may be sent again, the outcome being unknown."""
    return is_outage(error) or _sqlstate(error).startswith(_ROLLED_BACK)


def is_data(error: BaseException) -> bool:
    """True where what was asked can never be written as it is."""
    return _sqlstate(error)[:2] in _DATA_CLASSES


def is_contention(error: BaseException) -> bool:
    """True where others were in the way: the connection is as good as before."""
    state = _sqlstate(error)
    return state.startswith(_ROLLED_BACK) or state in (_LOCK_TIMEOUT, _STATEMENT_TIMEOUT)


def _sqlstate(error: BaseException) -> str:
    return (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""
