"""`tollgate key`: API keys of an organisation."""

from datetime import datetime, timedelta
from typing import Any

import click
from rich.markup import escape

from gateway.cli.desk import Desk, at_desk
from gateway.cli.params import INSTANT, LINE, NETWORK, limit_option, offset_option
from gateway.cli.show import of_total, table, when
from gateway.core.caller import KeyKind
from gateway.identity.keys import OVERLAP_S, OVERLAP_S_MAX, ApiKey


@click.group()
def key() -> None:
    """API keys: create, list, rotate, revoke. ORG is an organisation's id, or a name that only one has."""


@key.command()
@click.argument("org")
@click.option("--name", type=LINE, required=True, help="What the key is for.")
@click.option("--kind", type=click.Choice([kind.value for kind in KeyKind]), default="inference", show_default=True)
@click.option("--ip-allow", type=NETWORK, multiple=True, help="Allow only this network; may be repeated.")
@click.option("--model", "models", type=LINE, multiple=True, help="Allow only this model; may be repeated.")
@click.option("--expires-at", type=INSTANT, help="For example 2027-01-31 or 2027-01-31T12:00:00Z.")
@at_desk
async def create(
    desk: Desk,
    org: str,
    *,
    name: str,
    kind: str,
    ip_allow: tuple[str, ...],
    models: tuple[str, ...],
    expires_at: datetime | None,
) -> None:
    """Create a key for ORG and print it, once."""
    found = await desk.orgs.named(org)
    made, token = await desk.keys.create(
        found.org_id,
        name=name,
        kind=KeyKind(kind),
        models=models or None,
        ip_allow=ip_allow or None,
        expires_at=expires_at,
        by=desk.by,
    )
    desk.show(
        {"key": token, **_view(made)},
        f"Created the key [bold]{escape(name)}[/] of {escape(found.name)}. It is shown only now:",
        "",
        f"    {token}",
        "",
        f"Revoke it with: tollgate key revoke {found.org_id} {made.key_id}",
    )


@key.command("list")
@click.argument("org")
@limit_option
@offset_option
@at_desk
async def list_(desk: Desk, org: str, limit: int, offset: int) -> None:
    """List the keys of ORG, oldest first; never the keys themselves."""
    found = await desk.orgs.named(org)
    keys, total = await desk.keys.page(found.org_id, limit=limit, offset=offset)
    rows = table("id", "begins with", "name", "kind", "models", "networks", "expires", "revoked", "created")
    for each in keys:
        rows.add_row(
            str(each.key_id),
            each.prefix,
            escape(each.name),
            each.kind,
            "all" if each.models is None else escape(", ".join(each.models)),
            "all" if each.ip_allow is None else ", ".join(each.ip_allow),
            when(each.expires_at),
            "no" if each.revoked_at is None else when(each.revoked_at),
            when(each.created_at),
        )
    desk.show(
        {"data": [_view(each) for each in keys], "total": total, "limit": limit, "offset": offset},
        rows,
        of_total(len(keys), total, offset),
    )


@key.command()
@click.argument("org")
@click.argument("key_id", metavar="KEY", type=click.UUID)
@click.option(
    "--overlap-s",
    type=click.IntRange(0, OVERLAP_S_MAX),
    default=OVERLAP_S,
    show_default=True,
    help="Seconds for which the old key goes on.",
)
@at_desk
async def rotate(desk: Desk, org: str, key_id: Any, overlap_s: int) -> None:
    """Put a new key in the place of KEY (its id) of ORG and print it, once; the old one goes on for a while."""
    found = await desk.orgs.named(org)
    made = await desk.keys.rotate(found.org_id, key_id, overlap=timedelta(seconds=overlap_s), by=desk.by)
    old = await desk.keys.get(found.org_id, key_id)
    assert made.token is not None
    desk.show(
        {"key": made.token, **_view(made.key)},
        f"A new key is in the place of [bold]{escape(old.name)}[/] ({old.prefix}…), which ends at "
        f"{when(old.expires_at)}. It is shown only now:",
        "",
        f"    {made.token}",
    )


@key.command()
@click.argument("org")
@click.argument("key_id", metavar="KEY", type=click.UUID)
@at_desk
async def revoke(desk: Desk, org: str, key_id: Any) -> None:
    """Revoke KEY (its id) of ORG, for good; gateways hear of it at once."""
    found = await desk.orgs.named(org)
    revoked = await desk.keys.revoke(found.org_id, key_id, by=desk.by)
    desk.show(
        _view(revoked),
        f"Revoked the key [bold]{escape(revoked.name)}[/] ({revoked.prefix}…) of {escape(found.name)} "
        f"at {when(revoked.revoked_at)}.",
    )


def _view(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "organization_id": key.org_id,
        "name": key.name,
        "kind": key.kind,
        "prefix": key.prefix,
        "last_four": key.last_four,
        "models": key.models,
        "ip_allow": key.ip_allow,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "replaced_by": key.replaced_by,
        "created_at": key.created_at,
    }
