"""`tollgate audit`: whether the books hold, account by account; exit code 1 where one does not."""

from typing import Any, Final

import click
import msgspec
from rich.markup import escape

from gateway.cli.desk import Desk, at_desk
from gateway.cli.show import table
from gateway.ledger.audit import Violation, find_violations

ACCOUNTS_AT_ONCE: Final = 200


@click.command()
@click.option("--full", is_flag=True, help="From the first row of every account, not from its last checkpoint.")
@at_desk
async def audit(desk: Desk, full: bool) -> int:
    """Check the ledger against its invariants (gateway/ledger/README.md). No money is moved and nobody is stopped."""
    found: list[Violation] = []
    async for page in find_violations(desk.pool, full=full, accounts_at_once=ACCOUNTS_AT_ONCE):
        found += page
    view: dict[str, Any] = {"full": full, "violations": [msgspec.to_builtins(each) for each in found]}
    if not found:
        desk.show(view, f"The books are sound{'' if full else ' since the last audit'}.")
        return 0
    rows = table("invariant", "organisation", "account", "row", "what is wrong", right=("invariant",))
    for each in found:
        rows.add_row(str(each.invariant), str(each.org_id), str(each.account_id), str(each.id), escape(each.detail))
    desk.show(view, rows, f"[bold]{len(found)}[/] breaches of the ledger's invariants.")
    return 1
