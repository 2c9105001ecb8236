"""`tollgate ledger`: what a person decides about the books themselves."""

from typing import Any

import click
import msgspec
from rich.markup import escape

from gateway.cli.desk import Desk, at_desk
from gateway.cli.params import LINE
from gateway.ledger.operations import unpark_account


@click.group()
def ledger() -> None:
    """The ledger: unpark. ORG is an organisation's id, or a name that only one has."""


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
