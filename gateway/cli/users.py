"""`tollgate user`: the people of an organisation."""

from typing import Any, get_args

import click
from rich.markup import escape

from gateway.cli.desk import Desk, at_desk
from gateway.cli.params import LINE, limit_option, offset_option
from gateway.cli.show import of_total, table, when
from gateway.core.roles import Role
from gateway.identity.users import User, Users


@click.group()
def user() -> None:
    """Users: create, list. ORG is an organisation's id, or a name that only one has."""


@user.command()
@click.argument("org")
@click.argument("external_id", metavar="USER", type=LINE)
@click.option("--name", type=LINE, required=True)
@click.option("--email", default=None)
@click.option("--role", type=click.Choice(get_args(Role)), default="member", show_default=True)
@at_desk
async def create(desk: Desk, *, org: str, external_id: str, name: str, email: str | None, role: Role) -> None:
    """Create a user of ORG, with an account that the rule for the role fills. USER is what ORG calls them."""
    found = await desk.orgs.named(org)
    made = await _users(desk).create(
        found.org_id, external_id=external_id, name=name, email=email, role=role, by=desk.by
    )
    desk.show(
        _view(made), f"[bold]{escape(made.name)}[/] is a {made.role} of {escape(found.name)} with id {made.user_id}."
    )


@user.command("list")
@click.argument("org")
@limit_option
@offset_option
@at_desk
async def list_(desk: Desk, org: str, limit: int, offset: int) -> None:
    """List the users of ORG, oldest first."""
    found = await desk.orgs.named(org)
    users, total = await _users(desk).page(found.org_id, limit=limit, offset=offset)
    rows = table("id", "external id", "name", "e-mail", "role", "status", "created")
    for each in users:
        rows.add_row(
            str(each.user_id),
            escape(each.external_id),
            escape(each.name),
            escape(each.email or ""),
            each.role,
            each.status,
            when(each.created_at),
        )
    desk.show(
        {"data": [_view(each) for each in users], "total": total, "limit": limit, "offset": offset},
        rows,
        of_total(len(users), total, offset),
    )


def _users(desk: Desk) -> Users:
    # A running gateway hears of a change from the database; this process remembers no keys.
    return Users(desk.pool, ids=desk.ids, forget_org=lambda _: None)


def _view(user: User) -> dict[str, Any]:
    return {
        "id": user.user_id,
        "organization_id": user.org_id,
        "external_id": user.external_id,
        "name": user.name,
        "email": user.email,
        "role": user.role,
        "status": user.status,
        "created_at": user.created_at,
    }
