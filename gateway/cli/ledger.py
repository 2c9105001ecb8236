"""`tollgate ledger`: what a person decides about the books themselves."""

import contextlib
import os
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.markup import escape

from gateway.cli.database import CONNECT_TIMEOUT_S, database
from gateway.cli.desk import Desk, at_desk, run_and_exit, say
from gateway.cli.params import LINE
from gateway.cli.place import data_dir_option
from gateway.cli.plans import config_option
from gateway.cli.show import print_json, print_lines, table, when
from gateway.ledger.archive import archive_months, list_months
from gateway.ledger.operations import unpark_account
from gateway.postgres.pool import connect
from gateway.settings import load_settings

_STATEMENT_TIMEOUT_S: Final = 3600.0
"""A page of accounts that have a month's calls, each of which is checked."""


@click.group()
def ledger() -> None:
    """The ledger: unpark, months, archive. ORG is an organisation's id, or a name that only one has."""


@ledger.command()
@click.argument("org")
@click.option("--account", "account_id", type=click.UUID, help="One of ORG's accounts by its id; default its pool.")
@click.option("--reason", type=LINE, help="Why its books are trusted again; kept in the audit log.")
@at_desk
async def unpark(desk: Desk, *, org: str, account_id: Any, reason: str | None) -> None:
    """Let an account of ORG reserve again that the audit had parked. Look at its books first: tollgate audit --full."""
    found = await desk.orgs.named(org)
    by = msgspec.structs.replace(desk.by, reason=reason or "")
    account_id = account_id or found.account_id
    changed = await unpark_account(desk.pool, org_id=found.org_id, account_id=account_id, by=by)
    desk.show(
        {"organization_id": found.org_id, "account_id": account_id, "was_parked": not changed.repeated},
        f"The account {account_id} of [bold]{escape(found.name)}[/] was not parked."
        if changed.repeated
        else f"Unparked the account {account_id} of [bold]{escape(found.name)}[/]: it reserves again.",
    )


@ledger.command()
@at_desk
async def months(desk: Desk) -> None:
    """List the ledger's months: how many rows (an estimate), how large, attached or archived."""
    found = await list_months(desk.pool)
    rows = table("month", "state", "rows", "size", "archived", right=("rows", "size"))
    for each in found:
        counted = "" if each.rows is None or each.rows < 0 else f"{each.rows:,}"
        rows.add_row(
            each.name, each.state, counted, _size(each.bytes), when(each.archived_at) if each.archived_at else ""
        )
    desk.show({"data": [msgspec.to_builtins(each) for each in found]}, rows)


@ledger.command()
@click.option(
    "--before",
    type=click.DateTime(["%Y-%m"]),
    required=True,
    help="Months before this one, which itself stays: YYYY-MM.",
)
@click.option(
    "--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder for the files."
)
@click.option("--keep-table", is_flag=True, help="Detach the month's table and leave it there.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@data_dir_option
def archive(
    *, before: datetime, folder: Path, keep_table: bool, config: Path | None, as_json: bool, data_dir: Path | None
) -> None:
    """Export old months to files and take them out of the ledger, when all books are sound.

    A month leaves when nothing that began in it can still be open or be corrected (the longest life of a reservation or
    job, and late_window_s). It may be interrupted and run again, while calls go on. As the owner of the tables.
    """

    async def work() -> int:
        settings = load_settings(config, os.environ).ledger
        async with database(data_dir, progress=say) as dsn:
            owner = await connect(dsn, statement_timeout_s=_STATEMENT_TIMEOUT_S, connect_timeout_s=CONNECT_TIMEOUT_S)
            try:
                leaving = archive_months(
                    owner, before=before.date(), folder=folder, keep_table=keep_table, settings=settings, progress=say
                )
                async with contextlib.aclosing(leaving):
                    archived = [each async for each in leaving]
            finally:
                await owner.close(timeout=CONNECT_TIMEOUT_S)
        rows = table("month", "rows", "file", "size", "sha256", right=("rows", "size"))
        for each in archived:
            rows.add_row(each.month, f"{each.totals.rows:,}", each.file, _size(each.bytes), each.sha256)
        if as_json:
            print_json({"data": archived})
        else:
            print_lines(rows if archived else "No month was archived.")
        return 0

    run_and_exit(work)


def _size(bytes: int | None) -> str:
    return "" if bytes is None else f"{bytes / 1_000_000:,.1f} MB"
