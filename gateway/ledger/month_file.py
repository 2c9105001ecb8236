"""A month of the ledger as a file: CSV as Postgres writes and reads it, gzipped, and a manifest of what is in it.

Each file is written under a temporary name, flushed to the disk and renamed, so that under its own name it is whole.
The month is closed, so it is read in pages, and no statement holds a snapshot for long.
"""

import asyncio
import csv
import gzip
import hashlib
import io
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import Conflict
from gateway.postgres.queries import load

_SQL = load("archive")
_PAGE_ROWS: Final = 50_000
_FIRST: Final = UUID(int=0)
_LAST: Final = UUID(int=(1 << 128) - 1)


class Month(msgspec.Struct, frozen=True, kw_only=True):
    """A month that has a partition; ids from `first_id` on and below `end_id` belong to it."""

    name: str
    first_day: date
    first_id: UUID
    end_id: UUID


class Column(msgspec.Struct, frozen=True):
    name: str
    type: str


class Totals(msgspec.Struct, kw_only=True):
    """What must be the same in the table, in the file and in the manifest; ids are the lowest and the highest."""

    rows: int = 0
    first_id: UUID | None = None
    last_id: UUID | None = None
    rows_by_kind: dict[str, int] = msgspec.field(default_factory=dict)
    amount_ucr_by_kind: dict[str, int] = msgspec.field(default_factory=dict)

    def add(self, kind: str, *, rows: int, amount_ucr: int, first_id: UUID, last_id: UUID) -> None:
        self.rows += rows
        self.first_id = first_id if self.first_id is None else min(self.first_id, first_id)
        self.last_id = last_id if self.last_id is None else max(self.last_id, last_id)
        self.rows_by_kind[kind] = self.rows_by_kind.get(kind, 0) + rows
        self.amount_ucr_by_kind[kind] = self.amount_ucr_by_kind.get(kind, 0) + amount_ucr


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`sha256` is that of the file as it lies there; `columns` are in its order."""

    month: str
    file: str
    bytes: int
    sha256: str
    totals: Totals
    columns: list[Column]


async def export_month(
    connection: asyncpg.Connection, month: Month, folder: Path, progress: Callable[[str], None]
) -> Manifest:
    """Writes the month and reads it back. Raises Conflict where what was read is not what the table has, or where the
    folder holds another archive of that month; then nothing under the month's own names was changed.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    columns = [Column(**dict(row.items())) for row in await connection.fetch(_SQL.columns)]
    path = folder / f"ledger-{month.name}.csv.gz"
    fresh = path.with_suffix(".gz.part")
    with fresh.open("wb") as file:
        totals = await _write(connection, month, file, progress)
        file.flush()
        os.fsync(file.fileno())
    progress(f"{month.name}: reading {totals.rows:,} rows back")
    read, sha256 = await asyncio.to_thread(read_back, fresh)
    if read != totals:
        raise Conflict(f"{fresh} is not what the ledger has for {month.name}; nothing was detached.")
    known = read_manifest(path)
    if known is not None and known.totals != totals:
        raise Conflict(f"{path} is another archive of {month.name}: move it away; nothing was detached.")
    made = Manifest(
        month=month.name,
        file=path.name,
        bytes=fresh.stat().st_size,
        sha256=sha256,
        totals=totals,
        columns=columns,
    )
    fresh.replace(path)
    _write_manifest(made, _manifest_path(path))
    return made


def read_back(path: Path) -> tuple[Totals, str]:
    """What a file has in it, and its SHA-256."""
    totals = Totals()
    with path.open("rb") as raw:
        sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            id = UUID(row["id"])
            totals.add(row["kind"], rows=1, amount_ucr=int(row["amount_ucr"]), first_id=id, last_id=id)
    return totals, sha256


def read_manifest(path: Path) -> Manifest | None:
    """Of the month's file at `path`; None where there is none."""
    try:
        return msgspec.json.decode(_manifest_path(path).read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None


async def _write(
    connection: asyncpg.Connection, month: Month, file: io.BufferedWriter, progress: Callable[[str], None]
) -> Totals:
    totals = Totals()
    bounds = (month.first_id, month.end_id)
    after = (_FIRST, _FIRST)
    header = True
    # Without a name and a time the same rows are the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:

        async def write(data: bytes) -> None:
            packed.write(data)

        while after != (_LAST, _LAST):
            end = await connection.fetchrow(_SQL.last_of_page, *bounds, *after, _PAGE_ROWS)
            page = (*bounds, *after, *(tuple(end) if end else (_LAST, _LAST)))
            await connection.copy_from_query(_SQL.rows_of_page, *page, output=write, format="csv", header=header)
            for row in await connection.fetch(_SQL.totals_of_page, *page):
                totals.add(**dict(row.items()))
            after, header = (page[4], page[5]), False
            progress(f"{month.name}: exported {totals.rows:,} rows")
    return totals


def _write_manifest(manifest: Manifest, path: Path) -> None:
    fresh = path.with_suffix(".json.part")
    with fresh.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)  # The names, too, must outlive a crash.
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _manifest_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".csv.gz") + ".json")
