"""`tollgate org`: organisations."""

import click
from rich.markup import escape

from gateway.cli.desk import Desk, at_desk, org_view
from gateway.cli.params import LINE, limit_option, offset_option
from gateway.cli.show import of_total, table, when


@click.group()
def org() -> None:
    """Organisations: create, list, suspend, resume. ORG is an id, or a name that only one has."""


@org.command()
@click.argument("name", type=LINE)
@at_desk
async def create(desk: Desk, name: str) -> None:
    """Create an organisation with an empty account."""
    org = await desk.orgs.create(name, by=desk.by)
    desk.show(
        org_view(org),
        f"Created the organisation [bold]{escape(org.name)}[/] with id {org.org_id}.",
        f"Next: tollgate credits grant {org.org_id} 1000 --reason WELCOME_BONUS",
        f"      tollgate key create {org.org_id} --name first",
    )


@org.command("list")
@limit_option
@offset_option
@at_desk
async def list_(desk: Desk, limit: int, offset: int) -> None:
    """List organisations, oldest first."""
    orgs, total = await desk.orgs.page(limit=limit, offset=offset)
    rows = table("id", "name", "status", "created")
    for org in orgs:
        rows.add_row(str(org.org_id), escape(org.name), org.status, when(org.created_at))
    desk.show(
        {"data": [org_view(org) for org in orgs], "total": total, "limit": limit, "offset": offset},
        rows,
        of_total(len(orgs), total, offset),
    )


@org.command()
@click.argument("org")
@at_desk
async def suspend(desk: Desk, org: str) -> None:
    """Refuse the calls of ORG until it is resumed; calls that run already end as they would."""
    suspended = await desk.orgs.suspend((await desk.orgs.named(org)).org_id, by=desk.by)
    desk.show(
        org_view(suspended),
        f"Suspended [bold]{escape(suspended.name)}[/]: its calls are refused from now on.",
        f"Undo: tollgate org resume {suspended.org_id}",
    )


@org.command()
@click.argument("org")
@at_desk
async def resume(desk: Desk, org: str) -> None:
    """Let the calls of ORG in again."""
    resumed = await desk.orgs.resume((await desk.orgs.named(org)).org_id, by=desk.by)
    desk.show(org_view(resumed), f"Resumed [bold]{escape(resumed.name)}[/]: its keys work again.")
