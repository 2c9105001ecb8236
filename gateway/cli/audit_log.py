"""`tollgate audit-log`: what was changed, and whether the log is what was written; exit code 1 where it is not."""

import re
from typing import Any
from uuid import UUID

import click
from rich.markup import escape

from gateway.cli.desk import Desk, at_desk
from gateway.cli.params import LINE, limit_option
from gateway.cli.show import table, when
from gateway.ledger.audit_log import THE_GATEWAY, AuditLog, ChainEnd, Proof, Tampering, WantedEntries, verify


class ChainEndParam(click.ParamType[ChainEnd]):
    """`12:9f86d0…`: a position in the chain and the hash there."""

    name = "position:hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ChainEnd:
        if isinstance(value, ChainEnd):
            return value
        parts = re.fullmatch(r"([1-9][0-9]{0,17}):([0-9a-f]{64})", value)
        if parts is None:
            self.fail("must be a position and a hash, as an earlier run printed them", param, ctx)
        return ChainEnd(position=int(parts[1]), hash=bytes.fromhex(parts[2]))


@click.group("audit-log")
def audit_log() -> None:
    """The audit log: list, verify."""


@audit_log.command("list")
@click.argument("org", required=False)
@click.option("--action", type=LINE, default=None, help="Only these: key.revoked, price.set, …")
@click.option("--before", type=click.UUID, default=None, help="Only entries older than this one.")
@limit_option
@at_desk
async def list_(desk: Desk, *, org: str | None, action: str | None, before: UUID | None, limit: int) -> None:
    """List what was changed of ORG, latest first; without ORG, of the gateway itself: prices and mark-ups."""
    org_id = THE_GATEWAY if org is None else (await desk.orgs.named(org)).org_id
    wanted = WantedEntries(first_id=UUID(int=0), end_id=before or UUID(int=2**128 - 1), action=action, markups=True)
    entries, last = await AuditLog(desk.pool).page(org_id, wanted, limit=limit)
    rows = table("at", "actor", "action", "object", "reason")
    for entry in entries:
        rows.add_row(
            when(entry.at),
            escape(entry.actor),
            entry.action,
            f"{entry.object_kind} {entry.object_id}",
            escape(entry.reason),
        )
    more = [] if last is None else [f"There is more: --before {last}"]
    desk.show({"data": entries, "limit": limit, "before": last}, rows, *more)


@audit_log.command("verify")
@click.option("--noted", type=ChainEndParam(), help="The chain's end as an earlier run printed it, noted elsewhere.")
@at_desk
async def verify_(desk: Desk, *, noted: ChainEnd | None) -> int:
    """Recompute the chain of hashes over all entries, and name the first that was changed, removed, inserted or moved.

    Entries that wait for their link are chained first. Keep what it prints where nobody who can change the database can
    change it too: then not even a chain that was made anew goes unnoticed.
    """
    await AuditLog(desk.pool).chain()
    proof = await verify(desk.pool, noted=noted)
    desk.show(_view(proof), *_lines(proof))
    return 0 if proof.tampering is None else 1


def _view(proof: Proof) -> dict[str, Any]:
    found = proof.tampering
    return {
        "sound": found is None,
        "position": proof.end.position,
        "hash": proof.end.hash.hex(),
        "waiting": proof.waiting,
        "first": None
        if found is None
        else {
            "what": found.what,
            "position": found.position,
            "organization_id": found.org_id,
            "id": found.id,
            "detail": found.detail,
        },
    }


def _lines(proof: Proof) -> list[str]:
    if proof.tampering is not None:
        return [_line(proof.tampering)]
    waiting = f" {proof.waiting} more wait for their link." if proof.waiting else ""
    return [f"The audit log is sound: {proof.end.position} entries.{waiting}", f"Its end, to be noted: {proof.end}"]


def _line(found: Tampering) -> str:
    place = "" if found.position is None else f" at position {found.position}"
    entry = "" if found.id is None else f", entry {found.id} of the organisation {found.org_id}"
    return f"[bold]{found.what}[/]{place}{entry}: {escape(found.detail)}."
