"""`tollgate audit`: whether the books hold."""

import click
from rich.markup import escape

from gateway.cli.desk import Desk, at_desk
from gateway.cli.show import table
from gateway.ledger.audit import Violation, find_violations
from gateway.ledger.options import LedgerSettings


@click.command()
@click.option(
    "--full", is_flag=True, help="From each account's first row, not from where the last audit found it sound."
)
@at_desk
async def audit(desk: Desk, full: bool) -> int:
    """Check every account's books against the ledger's invariants; exit with 1 where one is broken. Parks nothing."""
    found: list[Violation] = []
    async for page in find_violations(desk.pool, full=full, accounts_at_once=LedgerSettings().audit_accounts):
        found += page
    view = {"sound": not found, "full": full, "violations": found}
    if not found:
        desk.show(
            view, f"The books are sound{'' if full else ' since the last audit; --full checks them from the start'}."
        )
        return 0
    rows = table("invariant", "organisation", "account", "shown by", "what is wrong")
    for each in found:
        rows.add_row(str(each.invariant), str(each.org_id), str(each.account_id), str(each.id), escape(each.detail))
    desk.show(view, rows, f"{len(found)} broken. What each number means: gateway/ledger/README.md.")
    return 1
