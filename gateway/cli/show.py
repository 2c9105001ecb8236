"""How commands print: JSON for programs; for people plain tables, credits with six places, times in UTC."""

import sys
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

from gateway.core.units import credits_text

_WIDE: Final = 200
"""Columns of a table that goes to a file or a pipe, where nothing tells how wide it may be."""


def print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def print_lines(*lines: RenderableType) -> None:
    """Texts with rich's markup (escape what is not ours) and tables."""
    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    for line in lines:
        console.print(line, soft_wrap=isinstance(line, str))


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Ids and amounts must survive copying, so nothing is cut short: what does not fit goes on in the next line."""
    rows = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        rows.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return rows


def when(at: datetime | None) -> str:
    return "never" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def credits(ucr: int) -> str:
    """`1,234.500000`, right-aligned columns of which can be compared at a glance."""
    whole, _, places = credits_text(abs(ucr)).partition(".")
    return f"{'-' if ucr < 0 else ''}{int(whole):,}.{places}"


def of_total(shown: int, total: int, offset: int) -> str:
    if total == 0:
        return "None yet."
    if shown == 0:
        return f"Nothing from row {offset + 1} on: there are {total}."
    return f"{offset + 1} to {offset + shown} of {total}."
