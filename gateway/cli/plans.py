"""`tollgate plan`: what organisations can subscribe to, and what they did."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from gateway.cli.desk import Desk, at_desk, run_and_exit
from gateway.cli.plan_view import plan_table, plan_view
from gateway.cli.show import credits as credits_
from gateway.cli.show import print_json, print_lines, when
from gateway.core.errors import NotFound
from gateway.ledger.plans import Plan
from gateway.ledger.subscriptions import Subscription, Subscriptions
from gateway.settings import load_settings


@click.group()
def plan() -> None:
    """Plans: list, subscribe, change, cancel, resume. ORG is an organisation's id, or a name that only one has."""


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The gateway's TOML file, which may name a file of plans; without it the shipped ones.",
    )(command)


@plan.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def list_(config: Path | None, as_json: bool) -> None:
    """List the plans that the configuration has."""

    async def work() -> int:
        plans = _plans(config)
        if as_json:
            print_json({"data": [plan_view(each) for each in plans]})
        else:
            print_lines(plan_table(plans))
        return 0

    run_and_exit(work)


@plan.command()
@click.argument("org")
@click.argument("plan")
@config_option
@at_desk
async def subscribe(desk: Desk, org: str, plan: str, config: Path | None) -> None:
    """Subscribe ORG to PLAN, from now on; its first credits come at once."""
    found = await desk.orgs.named(org)
    made = await _subscriptions(desk).subscribe(
        found.org_id, found.account_id, _plan(config, plan), operation_id=desk.ids.next(), by=desk.by
    )
    desk.show(_view(made), f"Subscribed [bold]{escape(found.name)}[/] to {_terms(made.plan)}.", _until(made))


@plan.command()
@click.argument("org")
@click.argument("plan")
@click.option("--at-period-end", is_flag=True, help="Leave the current period as it is.")
@click.option("--no-proration", is_flag=True, help="Give the new plan's credits for the whole current period.")
@config_option
@at_desk
async def change(
    desk: Desk, *, org: str, plan: str, at_period_end: bool, no_proration: bool, config: Path | None
) -> None:
    """Change the plan of ORG to PLAN: now, for the time that is left of the period, unless said otherwise."""
    if at_period_end and no_proration:
        raise click.UsageError("at the period's end there is nothing to prorate: give one of the two options")
    found = await desk.orgs.named(org)
    changed = await _subscriptions(desk).change(
        found.org_id,
        found.account_id,
        _plan(config, plan),
        operation_id=desk.ids.next(),
        when="period_end" if at_period_end else "now",
        prorate=not no_proration,
        by=desk.by,
    )
    if changed.next_plan is not None:
        told = f"[bold]{escape(found.name)}[/] has {_terms(changed.next_plan)} from {when(changed.period_end)} on."
    else:
        told = f"[bold]{escape(found.name)}[/] has {_terms(changed.plan)}."
    owed = f"Used beyond what time earned, and taken off what comes next: {credits_(changed.owed_ucr)}."
    desk.show(_view(changed), told, _until(changed), *([owed] if changed.owed_ucr else []))


@plan.command()
@click.argument("org")
@click.option("--now", is_flag=True, help="Not at the period's end: what is left of it expires now.")
@at_desk
async def cancel(desk: Desk, org: str, now: bool) -> None:
    """End the subscription of ORG with the current period."""
    found = await desk.orgs.named(org)
    ended = await _subscriptions(desk).cancel(
        found.org_id,
        found.account_id,
        operation_id=desk.ids.next(),
        when="now" if now else "period_end",
        by=desk.by,
    )
    name = escape(found.name)
    if now:
        desk.show(_view(ended), f"The subscription of [bold]{name}[/] to {_terms(ended.plan)} has ended.")
    else:
        desk.show(
            _view(ended),
            f"The subscription of [bold]{name}[/] to {_terms(ended.plan)} ends at {when(ended.period_end)}.",
            f"Undo: tollgate plan resume {found.org_id}",
        )


@plan.command()
@click.argument("org")
@at_desk
async def resume(desk: Desk, org: str) -> None:
    """Take back a cancellation, before the period's end."""
    found = await desk.orgs.named(org)
    resumed = await _subscriptions(desk).resume(
        found.org_id, found.account_id, operation_id=desk.ids.next(), by=desk.by
    )
    desk.show(_view(resumed), f"[bold]{escape(found.name)}[/] keeps {_terms(resumed.plan)}.", _until(resumed))


def _subscriptions(desk: Desk) -> Subscriptions:
    # A running gateway finds the credits in the database; this process has no calls that wait for them.
    return Subscriptions(desk.pool, moved=lambda _: None)


def _plans(config: Path | None) -> tuple[Plan, ...]:
    """Raises SettingsError."""
    return load_settings(config, os.environ).plans


def _plan(config: Path | None, id: str) -> Plan:
    plans = {plan.id: plan for plan in _plans(config)}
    if id not in plans:
        raise NotFound(f"There is no plan {id!r}; there are {', '.join(plans)}. Nothing was changed.")
    return plans[id]


def _terms(plan: Plan) -> str:
    return f"{escape(plan.name)} ({credits_(plan.amount_ucr)} credits a {plan.period})"


def _until(subscription: Subscription) -> str:
    return f"The current period ends at {when(subscription.period_end)}."


def _view(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": subscription.id,
        "plan": plan_view(subscription.plan),
        "next_plan": None if subscription.next_plan is None else plan_view(subscription.next_plan),
        "period_start": subscription.period_start,
        "period_end": subscription.period_end,
        "owed_ucr": subscription.owed_ucr,
        "cancels": subscription.cancels,
        "ended_at": subscription.ended_at,
    }
