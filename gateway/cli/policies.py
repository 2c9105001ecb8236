"""`tollgate policy`: what an organisation chose about its credits, and what its users begin with."""

from typing import Any, get_args

import click
from rich.markup import escape

from gateway.cli.desk import Desk, at_desk
from gateway.cli.params import AMOUNT
from gateway.cli.show import credits as credits_
from gateway.cli.show import table
from gateway.core.caller import UnsupportedFields
from gateway.core.payment_order import PaymentOrder
from gateway.core.roles import Role
from gateway.core.units import credits_text
from gateway.identity.orgs import Org
from gateway.ledger.allocations import AllocationRule, Allocations
from gateway.ledger.plans import Period
from gateway.ledger.policy import Policies


@click.group()
def policy() -> None:
    """Credit policies: show, set. ORG is an organisation's id, or a name that only one has."""


class RuleParam(click.ParamType[AllocationRule]):
    """`member=transfer:100`, `member=quota:100/month`."""

    name = "rule"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> AllocationRule:
        if isinstance(value, AllocationRule):
            return value
        role, _, given = value.partition("=")
        kind, _, amount_and_period = given.partition(":")
        amount, _, period = amount_and_period.partition("/")
        if role not in get_args(Role):
            self.fail(f"{role!r} is no role; there are {', '.join(get_args(Role))}", param, ctx)
        if (kind, period in get_args(Period), not period) not in {("transfer", False, True), ("quota", True, False)}:
            self.fail(f"{value!r} is neither like member=transfer:100 nor like member=quota:100/month", param, ctx)
        amount_ucr = AMOUNT.convert(amount, param, ctx)
        return AllocationRule(role=role, kind=kind, amount_ucr=amount_ucr, period=period or None)


@policy.command()
@click.argument("org")
@at_desk
async def show(desk: Desk, org: str) -> None:
    """Show which account pays first, whose clocks periods follow, and what users begin with."""
    await _show(desk, await desk.orgs.named(org))


@policy.command("set")
@click.argument("org")
@click.option("--payment-order", type=click.Choice(get_args(PaymentOrder)), help="Which account pays first.")
@click.option("--time-zone", help="An IANA name, such as Europe/Berlin; holds from each next period on.")
@click.option(
    "--unsupported-fields",
    type=click.Choice(get_args(UnsupportedFields)),
    help="What a translated call's provider cannot be told: refuse the call, drop it, or as the gateway does.",
)
@click.option(
    "--allocation",
    "rules",
    type=RuleParam(),
    multiple=True,
    help="What new users of a role begin with: member=transfer:100 or member=quota:100/month; may be repeated.",
)
@click.option(
    "--no-allocation", "dropped", type=click.Choice(get_args(Role)), multiple=True, help="New users begin with nothing."
)
@at_desk
async def set_(
    desk: Desk,
    *,
    org: str,
    payment_order: PaymentOrder | None,
    time_zone: str | None,
    unsupported_fields: UnsupportedFields | None,
    rules: tuple[AllocationRule, ...],
    dropped: tuple[Role, ...],
) -> None:
    """Change what is given, and leave the rest."""
    found = await desk.orgs.named(org)
    if (payment_order, time_zone, unsupported_fields) != (None, None, None):
        await Policies(desk.pool).set(
            found.org_id,
            by=desk.by,
            payment_order=payment_order,
            time_zone=time_zone,
            unsupported_fields=unsupported_fields,
        )
    allocations = Allocations(desk.pool)
    for rule in rules:
        await allocations.set_rule(found.org_id, rule, by=desk.by)
    for role in dropped:
        await allocations.drop_rule(found.org_id, role, by=desk.by)
    await _show(desk, found)


async def _show(desk: Desk, org: Org) -> None:
    policy = await Policies(desk.pool).get(org.org_id)
    rules = await Allocations(desk.pool).rules(org.org_id)
    rows = table("role", "begins with", "credits", "each", right=("credits",))
    for rule in rules:
        rows.add_row(rule.role, rule.kind, credits_(rule.amount_ucr), rule.period or "")
    desk.show(
        {
            "organization_id": org.org_id,
            "payment_order": policy.payment_order,
            "time_zone": policy.time_zone,
            "unsupported_fields": policy.unsupported_fields,
            "allocation_rules": [
                {"role": rule.role, "kind": rule.kind, "amount": credits_text(rule.amount_ucr), "period": rule.period}
                for rule in rules
            ],
        },
        f"[bold]{escape(org.name)}[/]",
        f"payment order  {policy.payment_order}",
        f"time zone      {escape(policy.time_zone)}",
        f"not supported  {policy.unsupported_fields}",
        rows if rules else "New users begin with an empty account.",
    )
