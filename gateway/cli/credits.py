"""`tollgate credits`: what an organisation can spend."""

import re
from datetime import datetime
from typing import Any, Final

import click
from rich.markup import escape

from gateway.cli.desk import Desk, at_desk
from gateway.cli.params import AMOUNT, INSTANT, limit_option, offset_option
from gateway.cli.show import credits as credits_
from gateway.cli.show import of_total, table, when
from gateway.core.units import credits_text
from gateway.identity.orgs import Org
from gateway.ledger.accounts import Balance, Transaction, read_balance, read_transactions
from gateway.ledger.grants import PRIORITY_MAX, Grant, TransactionType, add_grant

_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


@click.group()
def credits() -> None:
    """Credits: grant, balance, history. ORG is an organisation's id, or a name that only one has."""


def _reason(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if _REASON.fullmatch(value) is None:
        raise click.BadParameter("must be one word in capitals, such as MANUAL_ADJUSTMENT", ctx, param)
    return value


@credits.command()
@click.argument("org")
@click.argument("amount", type=AMOUNT)
@click.option(
    "--type",
    "transaction_type",
    type=click.Choice([type.value for type in TransactionType]),
    default=TransactionType.ADJUSTMENT.value,
    show_default=True,
)
@click.option("--reason", default="MANUAL_ADJUSTMENT", show_default=True, callback=_reason)
@click.option("--description", default="", help="For people who read the history.")
@click.option("--expires-at", type=INSTANT, help="For example 2027-01-31 or 2027-01-31T12:00:00Z; default never.")
@click.option(
    "--priority", type=click.IntRange(0, PRIORITY_MAX), default=50, show_default=True, help="Lower is burned earlier."
)
@at_desk
async def grant(
    desk: Desk,
    *,
    org: str,
    amount: int,
    transaction_type: str,
    reason: str,
    description: str,
    expires_at: datetime | None,
    priority: int,
) -> None:
    """Give ORG an AMOUNT of credits, with at most 6 decimal places."""
    found = await desk.orgs.named(org)
    wish = Grant(
        id=desk.ids.next(),
        org_id=found.org_id,
        account_id=found.account_id,
        amount_ucr=amount,
        transaction_type=TransactionType(transaction_type),
        reason=reason,
        description=description,
        expires_at=expires_at,
        priority=priority,
    )
    made = await add_grant(desk.pool, wish, by=desk.by)
    balance = await read_balance(desk.pool, found.org_id)
    desk.show(
        {
            "id": made.id,
            "amount_ucr": made.amount_ucr,
            "amount": credits_text(made.amount_ucr),
            "expires_at": made.expires_at,
            "created_at": made.created_at,
            **_balance_view(found, balance),
        },
        f"Granted {credits_(amount)} credits to [bold]{escape(found.name)}[/], "
        + ("for good." if expires_at is None else f"until {when(expires_at)}."),
        f"It can spend {credits_(balance.available_ucr)} now."
        + (f" It still owes {credits_(balance.receivable_ucr)}." if balance.receivable_ucr else ""),
    )


@credits.command()
@click.argument("org")
@at_desk
async def balance(desk: Desk, org: str) -> None:
    """Show what ORG has, what its open calls hold, and what it can spend."""
    found = await desk.orgs.named(org)
    balance = await read_balance(desk.pool, found.org_id)
    rows = table("", "credits", right=("credits",))
    rows.add_row("balance", credits_(balance.balance_ucr))
    rows.add_row(f"held by {balance.open_count} open calls", credits_(balance.held_ucr))
    rows.add_row("[bold]available", f"[bold]{credits_(balance.available_ucr)}")
    rows.add_row("owed", credits_(balance.receivable_ucr))
    rows.add_row("granted to date", credits_(balance.granted_ucr))
    rows.add_row("used to date", credits_(balance.used_ucr))
    desk.show(_balance_view(found, balance), f"[bold]{escape(found.name)}[/] ({found.status})", rows)


@credits.command()
@click.argument("org")
@limit_option
@offset_option
@click.option("--order-by", type=click.Choice(["created_at", "amount"]), default="created_at", show_default=True)
@click.option("--order-direction", type=click.Choice(["asc", "desc"]), default="desc", show_default=True)
@at_desk
async def history(desk: Desk, *, org: str, limit: int, offset: int, order_by: Any, order_direction: Any) -> None:
    """List what changed the balance of ORG, latest first."""
    found = await desk.orgs.named(org)
    transactions, total = await read_transactions(
        desk.pool,
        found.org_id,
        limit=limit,
        offset=offset,
        order_by=order_by,
        order_direction=order_direction,
        with_releases=False,
    )
    rows = table("when", "kind", "why", "credits", "balance after", "id", right=("credits", "balance after"))
    for each in transactions:
        rows.add_row(
            when(each.created_at),
            each.kind,
            escape(_why(each)),
            credits_(each.amount_ucr),
            credits_(each.balance_after_ucr),
            str(each.id),
        )
    desk.show(
        {
            "data": [_transaction_view(each) for each in transactions],
            "total": total,
            "limit": limit,
            "offset": offset,
        },
        rows,
        of_total(len(transactions), total, offset),
    )


def _why(row: Transaction) -> str:
    """The one thing that tells a row from its like: a call's model, a grant's reason and words."""
    if row.model:
        return row.model if row.ended in {None, "ok"} else f"{row.model} ({row.ended})"
    return ": ".join(part for part in (row.reason, row.note) if part)


def _balance_view(org: Org, balance: Balance) -> dict[str, Any]:
    amounts = {
        "balance": balance.balance_ucr,
        "held": balance.held_ucr,
        "available": balance.available_ucr,
        "receivable": balance.receivable_ucr,
    }
    return {
        "organization_id": org.org_id,
        **{f"{name}_ucr": ucr for name, ucr in amounts.items()},
        **{name: credits_text(ucr) for name, ucr in amounts.items()},
    }


def _transaction_view(row: Transaction) -> dict[str, Any]:
    return {
        "id": row.id,
        "created_at": row.created_at,
        "kind": row.kind,
        "transaction_type": row.transaction_type,
        "reason": row.reason,
        "description": row.note,
        "amount_ucr": row.amount_ucr,
        "amount": credits_text(row.amount_ucr),
        "balance_after_ucr": row.balance_after_ucr,
        "balance_after": credits_text(row.balance_after_ucr),
        "model": row.model,
        "end": row.ended,
    }
