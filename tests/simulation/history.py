"""The committed rows, played again in the order of their versions through the sequential model: the same books?

The model alone says which grants a charge burns, where no grant of the account ever ends; where some do, that
depends on what was held at the moment, and the row is believed. Amounts, chains and what is left are checked for all.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from tests.simulation.clerk import Done
from tests.simulation.model import INFINITY, Account, Grant

_ACCOUNTS: Final = "SELECT account_id, balance_ucr, receivable_ucr, held_ucr, version FROM account"
_GRANTS: Final = """
SELECT id, account_id, amount_ucr, remaining_ucr, priority, category = 'paid' AS paid,
       (extract(epoch FROM effective_at) * 1000000)::bigint AS effective_at,
       coalesce((extract(epoch FROM expires_at) * 1000000)::bigint, $1) AS expires_at, voided_at IS NOT NULL AS voided
  FROM credit_grant
"""
_ROWS: Final = """
SELECT id, account_id, version, kind, amount_ucr, balance_after_ucr, ref_id, coalesce(overage_ucr, 0) AS overage_ucr,
       ended, burned_grants_of(ledger) AS burned_grants, burned_ucr_of(ledger) AS burned_ucr
  FROM ledger ORDER BY account_id, version
"""
Row = Mapping[str, Any]
_BURNING: Final = frozenset({"CHARGE", "LATE_CHARGE", "REPAYMENT", "ADJUSTMENT", "TRANSFER_OUT"})


async def differences(connection: asyncpg.Connection, log: Iterable[Done]) -> list[str]:
    """Between what the rows, replayed, come to and what the tables say; and between the clerk's log and the rows."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        accounts = await _fetched(connection, _ACCOUNTS)
        grants = await _fetched(connection, _GRANTS, INFINITY)
        rows = await _fetched(connection, _ROWS)
    rows_of: defaultdict[UUID, list[Row]] = defaultdict(list)
    grants_of: defaultdict[UUID, list[Row]] = defaultdict(list)
    for row in rows:
        rows_of[row["account_id"]].append(row)
    for grant in grants:
        grants_of[grant["account_id"]].append(grant)
    wrong = [
        each
        for account in accounts
        for each in _replayed(account, grants_of[account["account_id"]], rows_of[account["account_id"]])
    ]
    return wrong + _not_as_answered(log, {row["id"]: row for row in rows}, rows)


async def _fetched(connection: asyncpg.Connection, query: str, *arguments: object) -> list[Row]:
    return [dict(row.items()) for row in await connection.fetch(query, *arguments)]


def _replayed(account: Row, grants: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    model = Account(receivable_max=INFINITY)
    ends = any(grant["expires_at"] < INFINITY or grant["voided"] for grant in grants)
    facts = {
        grant["id"]: Grant(
            id=grant["id"],
            amount=grant["amount_ucr"],
            priority=grant["priority"],
            paid=grant["paid"],
            effective_at=grant["effective_at"],
            expires_at=grant["expires_at"],
        )
        for grant in grants
    }
    wrong = []
    for version, row in enumerate(rows, 1):
        try:
            _apply(model, facts, row, believe=ends)
        except (AssertionError, KeyError) as error:
            wrong.append(f"row {row['id']} ({row['kind']} of {row['amount_ucr']}): {error!r}")
        if (row["version"], row["balance_after_ucr"]) != (version, model.balance):
            wrong.append(f"row {row['id']} is version {row['version']}, after it {row['balance_after_ucr']} µcr; "
                         f"replayed {version} and {model.balance}")  # fmt: skip
            break
    told = (account["balance_ucr"], account["receivable_ucr"], account["held_ucr"], account["version"])
    if told != (model.balance, model.receivable, 0, len(rows)):
        wrong.append(f"account {account['account_id']} has {told}, replayed {(model.balance, model.receivable)}")
    left = {grant["id"]: grant["remaining_ucr"] for grant in grants if grant["remaining_ucr"]}
    replayed = {grant.id: grant.remaining for grant in model.grants if grant.remaining}
    if left != replayed:
        wrong.append(f"account {account['account_id']} has other grants left than its rows leave")
    return wrong


def _apply(model: Account, facts: Mapping[UUID, Grant], row: Row, *, believe: bool) -> None:
    """One row; `believe` it where it says which grants it burned."""
    named = dict(zip(row["burned_grants"] or (), row["burned_ucr"] or (), strict=True))
    kind, ucr = row["kind"], row["amount_ucr"]
    if kind in ("GRANT", "TRANSFER_IN"):
        for id, given in ({row["ref_id"]: ucr} if kind == "GRANT" else named).items():
            grant = facts[id]
            assert grant.amount == given, f"grant {id} is of {grant.amount}"
            model.grants.append(grant)
            model._activate(grant)
        return
    if kind in _BURNING and not believe:
        burned = {grant.id: took for grant, took in model._burn(-ucr, made_at=INFINITY)}
        assert burned == named, f"the model burns {burned}"
    else:
        sign = -1 if kind == "REFUND" else 1
        assert sum(named.values()) == abs(ucr), f"it names {named}"
        for id, took in named.items():
            facts[id].remaining -= sign * took
            assert 0 <= facts[id].remaining <= facts[id].amount, f"grant {id} has {facts[id].remaining} left"
    model.balance += ucr
    if kind == "REPAYMENT":
        model.receivable += ucr
    elif row["ended"] is not None:
        model.receivable += -row["overage_ucr"] if kind == "REFUND" else row["overage_ucr"]


def _not_as_answered(log: Iterable[Done], by_id: Mapping[UUID, Row], rows: Iterable[Row]) -> list[str]:
    """What was answered is in the books exactly so, and what was refused is not."""
    given = {row["ref_id"]: row for row in rows if row["kind"] == "GRANT"}
    wrong = []
    for done in log:
        row = given.get(done.row_id) if done.what == "add" else by_id.get(done.row_id)
        if done.refused:
            # A reservation may have expired before it was settled: then that is its ending.
            if row is not None and row["ended"] != "expired":
                wrong.append(f"{done}, and yet there is {dict(row)}")
        elif row is None:
            wrong.append(f"{done}, and there is no such row")
        elif row["amount_ucr"] != done.ucr and row["ended"] != "expired":
            wrong.append(f"{done}, but the row is of {row['amount_ucr']}")
    return wrong
