"""/api/credits/export: the rows of a list as CSV, sent as they are read. Nothing is held in the database meanwhile."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from typing import Final

import msgspec

from gateway.core.access import Right
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.serve import Piecewise
from gateway.edge.api.transactions import Filter, settled_org, wanted_of
from gateway.usage.transactions import Transaction

COLUMNS: Final = (
    *("id", "created_at", "posted_at", "account_id", "kind", "transaction_type", "reason", "description", "actor"),
    *("amount", "balance_after", "reference_id", "end", "user_id", "key_id", "model", "feature"),
    *("prompt_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cost", "overage", "waived", "tags"),
)
_FORMULA: Final = tuple("=+-@＝＋－＠")


@endpoint(
    "GET", "/api/credits/export", needs=Right.READ_CREDITS, own_without=Right.READ_ALL_CREDITS, content_type="text/csv"
)
async def export(ask: Ask, query: Filter) -> Piecewise:
    """Every transaction that fits, oldest first, as CSV with a line of names; credits are decimals.

    Texts that a spreadsheet would take for a formula begin with an apostrophe. An answer that breaks off without its
    end (the last chunk of HTTP) is not complete.
    """
    wanted = wanted_of(ask, query)
    org_id = await settled_org(ask, query)
    pages = ask.house.transactions.all(org_id, wanted)
    # Read before anything is sent: what goes wrong at once has an answer of its own.
    first: list[Transaction] = await anext(pages, [])

    async def pieces() -> AsyncIterator[bytes]:
        yield _lines([COLUMNS]) + _lines(map(_cells, first))
        async for rows in pages:
            yield _lines(map(_cells, rows))

    return Piecewise(pieces(), f"transactions-{org_id}.csv")


def _lines(rows: Iterable[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cells(row: Transaction) -> tuple[object, ...]:
    return (
        row.id,
        row.created_at.isoformat(),
        row.posted_at.isoformat(),
        row.account_id,
        row.kind,
        plain(row.transaction_type),
        plain(row.reason),
        plain(row.note),
        plain(row.actor),
        credits_text(row.amount_ucr),
        credits_text(row.balance_after_ucr),
        row.ref_id,
        row.ended,
        row.user_id,
        row.key_id,
        plain(row.model),
        plain(row.feature),
        row.prompt_tokens,
        row.cached_tokens,
        row.output_tokens,
        row.reasoning_tokens,
        None if row.cost_ucr is None else credits_text(row.cost_ucr),
        None if row.ended is None else credits_text(row.overage_ucr),
        None if row.ended is None else credits_text(row.waived_ucr),
        plain(_joined(row.tags)),
    )


def _joined(tags: str | None) -> str | None:
    """As the header has them."""
    return None if tags is None else ", ".join(msgspec.json.decode(tags, type=list[str]))


def plain(text: str | None) -> str | None:
    """What a person wrote, so that no spreadsheet computes it. Source: OWASP, CSV injection.

    Leading blanks hide nothing: some programs drop them before they look.
    """
    return f"'{text}" if text and (text.lstrip().startswith(_FORMULA) or text[0] in "\t\r\n") else text
