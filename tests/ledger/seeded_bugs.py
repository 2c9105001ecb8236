"""Bugs that the suite must catch: each is put into a copy of the source, and the tests named for it must turn red.

`python -m tests.ledger.seeded_bugs [--only NAME]` prints which test caught which, and ends with 1 where one survives.
`test_seeded_bugs.py` sees to it that each can still be put in.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = ("gateway", "tests", "config", "pyproject.toml")
TIMEOUT_S: Final = 120
_FUNCTIONS: Final = "gateway/postgres/functions"
_MIGRATIONS: Final = "gateway/postgres/migrations"


class Bug(msgspec.Struct, frozen=True, kw_only=True):
    """In `file` the text `right`, which is there once, becomes `wrong`."""

    name: str
    what: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]
    """Files below `tests/`, in the order in which they are run until the first red one."""

    def put_into(self, source: str) -> str:
        """Raises ValueError where the source is no longer what the bug was made for."""
        if (found := source.count(self.right)) != 1:
            raise ValueError(f"{self.name}: its text is {found} times in {self.file}, and must be there once")
        return source.replace(self.right, self.wrong)


BUGS: Final = (
    Bug(
        name="no_fencing",
        what="a reservation does not hold its process's fence",
        file=f"{_FUNCTIONS}/batch.sql",
        right="WHERE instance_id = p_instance AND fenced_at IS NULL FOR SHARE;",
        wrong="WHERE instance_id = p_instance AND fenced_at IS NULL;",
        tests=("ledger/test_instances.py",),
    ),
    Bug(
        name="once_check_removed",
        what="an ending does not look for an earlier one",
        file=f"{_FUNCTIONS}/settling.sql",
        right="SELECT * INTO v_before FROM ledger WHERE org_id = a.org_id AND id = s.id;",
        wrong="SELECT * INTO v_before FROM ledger WHERE false;",
        tests=("ledger/test_settlement.py",),
    ),
    Bug(
        name="late_row_twice",
        what="a late row's id is not derived from its call's",
        file=f"{_FUNCTIONS}/ids.sql",
        right="RETURN overlay(md5(p_id::text || 'late')::uuid::text",
        wrong="RETURN overlay(md5(p_id::text || clock_timestamp())::uuid::text",
        tests=("ledger/test_settlement.py",),
    ),
    Bug(
        name="ge_for_gt",
        what="`>=` for `>` in the admission: the last credit cannot be held",
        file=f"{_FUNCTIONS}/reserving.sql",
        right="WHEN v_ucr > v_free THEN 'busy' ELSE 'ok' END;",
        wrong="WHEN v_ucr >= v_free THEN 'busy' ELSE 'ok' END;",
        tests=("ledger/test_ledger.py",),
    ),
    Bug(
        name="one_open_too_many",
        what="`<` for `<=` in the limit of open calls",
        file=f"{_FUNCTIONS}/reserving.sql",
        right="IF r.open_count >= r.open_max THEN",
        wrong="IF r.open_count > r.open_max THEN",
        tests=("ledger/test_budgets.py",),
    ),
    Bug(
        name="wrong_grant_order",
        what="what never expires burns before what does",
        file=f"{_FUNCTIONS}/burning.sql",
        right="priority,\n                  expires_at NULLS LAST,",
        wrong="priority,\n                  expires_at NULLS FIRST,",
        tests=("ledger/test_grants.py",),
    ),
    Bug(
        name="wrong_grant_of_a_batch",
        what="a batch's one grant is not the first in order",
        file=f"{_FUNCTIONS}/burning.sql",
        right="ORDER BY priority, expires_at NULLS LAST, (category = 'paid'), effective_at, id\n         LIMIT 1;",
        wrong="ORDER BY effective_at, id\n         LIMIT 1;",
        tests=("ledger/test_grants.py",),
    ),
    Bug(
        name="counter_before_row",
        what="the held sum moves for a repeated wish, which makes no row",
        file=f"{_FUNCTIONS}/reserving.sql",
        right="v_answer.balance_ucr := coalesce(books[v_place].balance_ucr, 0);",
        wrong="books[v_place].held_ucr := books[v_place].held_ucr + v_answer.held_ucr;",
        tests=("ledger/test_settlement.py",),
    ),
    Bug(
        name="counter_forgotten",
        what="an ending leaves its account's count of open calls as it was",
        file=f"{_FUNCTIONS}/settling.sql",
        right="            a.open_count := a.open_count - 1;\n",
        wrong="",
        tests=("ledger/test_ledger.py",),
    ),
    Bug(
        name="now_for_clock_timestamp",
        what="the admission's clock is that of the transaction's begin, before the lock",
        file=f"{_FUNCTIONS}/batch.sql",
        right="v_now    timestamptz := clock_timestamp();",
        wrong="v_now    timestamptz := now();",
        tests=("ledger/test_grants.py",),
    ),
    Bug(
        name="rule_for_trigger",
        what="a rule that swallows updates of the ledger, in place of the trigger that refuses them",
        file=f"{_MIGRATIONS}/0001_ledger.sql",
        right="CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE ON ledger FOR EACH ROW"
        " EXECUTE FUNCTION refuse_ledger_change();",
        wrong="CREATE RULE ledger_append_only AS ON UPDATE TO ledger DO INSTEAD NOTHING;",
        tests=("ledger/test_schema.py",),
    ),
    Bug(
        name="locks_without_order",
        what="a batch locks its accounts in any order",
        file=f"{_FUNCTIONS}/batch.sql",
        right="ORDER BY account_id FOR NO KEY UPDATE);",
        wrong="ORDER BY random() FOR NO KEY UPDATE);",
        tests=("ledger/test_batcher.py",),
    ),
    Bug(
        name="transfer_without_order",
        what="a transfer locks the account that gives first",
        file=f"{_FUNCTIONS}/transfers.sql",
        right="    PERFORM FROM account WHERE org_id = p_org AND account_id IN (p_from, p_to) ORDER BY account_id"
        " FOR NO KEY UPDATE;\n",
        wrong="",
        tests=("ledger/test_transfers.py",),
    ),
    Bug(
        name="another_orgs_account",
        what="an ending closes whatever reservation has its id, of any organisation",
        file=f"{_FUNCTIONS}/settling.sql",
        right="DELETE FROM reservation WHERE org_id = a.org_id AND id = s.id AND account_id = a.account_id RETURNING",
        wrong="DELETE FROM reservation WHERE id = s.id RETURNING",
        tests=("ledger/test_settlement.py",),
    ),
    Bug(
        name="refunds_unchecked",
        what="the sum of a charge's refunds is not compared with the charge",
        file=f"{_FUNCTIONS}/refunds.sql",
        right="WHEN v_left = 0 OR p_ucr > v_left THEN 'too_much'",
        wrong="WHEN v_left = 0 THEN 'too_much'",
        tests=("ledger/test_refunds.py",),
    ),
    Bug(
        name="late_refund_on_top",
        what="the real cost of a swept call gives back what was refunded by hand already",
        file=f"{_FUNCTIONS}/settling.sql",
        right="charged_ucr(p_before) - refunded_ucr(a.org_id, s.id));",
        wrong="charged_ucr(p_before));",
        tests=("ledger/test_refunds.py",),
    ),
    Bug(
        name="budget_not_given_back",
        what="an ending leaves what it held in its budgets",
        file=f"{_FUNCTIONS}/budgets.sql",
        right="r.held_ucr - coalesce(b.held, 0),",
        wrong="r.held_ucr,",
        tests=("ledger/test_budgets.py",),
    ),
    Bug(
        name="budget_not_held",
        what="a budget is checked, but nothing is held in it",
        file=f"{_FUNCTIONS}/reserving.sql",
        right="u.held_ucr + coalesce(f.held_ucr, 0),",
        wrong="u.held_ucr,",
        tests=("ledger/test_budgets.py",),
    ),
    Bug(
        name="expired_burned_by_the_young",
        what="a call that is younger than a grant's end burns it",
        file=f"{_FUNCTIONS}/burning.sql",
        right="AND (expired_at IS NULL OR least(expires_at, voided_at) > p_made_at)",
        wrong="AND (expired_at IS NULL OR p_made_at IS NOT NULL)",
        tests=("ledger/test_grants.py",),
    ),
    Bug(
        name="key_not_kept",
        what="an idempotency key is forgotten with its change's end",
        file=f"{_FUNCTIONS}/idempotency.sql",
        right="DELETE FROM idempotency_key k WHERE k.org_id = p_org AND k.key = ANY (p_keys) AND p_answer IS NULL;",
        wrong="DELETE FROM idempotency_key k WHERE k.org_id = p_org AND k.key = ANY (p_keys);",
        tests=("ledger/test_deductions.py",),
    ),
    Bug(
        name="repay_skipped",
        what="new credits do not repay what is owed",
        file=f"{_FUNCTIONS}/granting.sql",
        right="RETURN repay(a, p_now, g.id);",
        wrong="RETURN a;",
        tests=("ledger/test_settlement.py",),
    ),
    Bug(
        name="period_index_dropped",
        what="nothing but the code keeps a period from being granted twice",
        file=f"{_MIGRATIONS}/0001_ledger.sql",
        right="CREATE UNIQUE INDEX credit_grant_of_period",
        wrong="CREATE INDEX credit_grant_of_period",
        tests=("ledger/test_periods.py",),
    ),
    Bug(
        name="period_reset_without_lock",
        what="what is due is posted without its account's lock",
        file=f"{_FUNCTIONS}/accounts.sql",
        right="WHERE org_id = p_org AND account_id = p_account FOR NO KEY UPDATE;",
        wrong="WHERE org_id = p_org AND account_id = p_account;",
        tests=("ledger/test_periods.py",),
    ),
    Bug(
        name="outbox_twice",
        what="a message stays in the outbox when it is taken",
        file="gateway/postgres/queries/outbox.sql",
        right="DELETE FROM outbox AS o\n USING next AS n\n WHERE o.org_id = n.org_id AND o.id = n.id\nRETURNING"
        " o.org_id, o.id, o.topic, o.account_id, o.payload::text, o.created_at;",
        wrong="SELECT o.org_id, o.id, o.topic, o.account_id, o.payload::text, o.created_at\n"
        "  FROM outbox AS o JOIN next AS n ON o.org_id = n.org_id AND o.id = n.id;",
        tests=("ledger/test_outbox.py",),
    ),
    Bug(
        name="outbox_lost",
        what="a message is taken out before its consumer is done",
        file="gateway/ledger/outbox.py",
        right="async with pool.acquire() as connection, connection.transaction():",
        wrong="async with pool.acquire() as connection:",
        tests=("ledger/test_outbox.py",),
    ),
    Bug(
        name="entry_forgotten",
        what="a change is not in the audit log",
        file=f"{_FUNCTIONS}/budgets.sql",
        right="IF FOUND THEN\n        PERFORM write_audit_log(p_org, p_by, 'budget.removed',",
        wrong="IF NOT FOUND THEN\n        PERFORM write_audit_log(p_org, p_by, 'budget.removed',",
        tests=("ledger/test_audit_log.py",),
    ),
    Bug(
        name="watermark_ignored",
        what="a dead process's call is free",
        file=f"{_FUNCTIONS}/recovery.sql",
        right="SELECT *, spent_ucr::bigint AS cost",
        wrong="SELECT *, 0::bigint AS cost",
        tests=("ledger/test_instances.py",),
    ),
    Bug(
        name="extension_added",
        what="an extension asks for so much more, not for at least so much",
        file=f"{_FUNCTIONS}/extending.sql",
        right="v_more := p_at_least_ucr - v_open.amount_ucr;",
        wrong="v_more := p_at_least_ucr; p_at_least_ucr := p_at_least_ucr + v_open.amount_ucr;",
        tests=("ledger/test_ledger.py",),
    ),
    Bug(
        name="batch_ignores_debt",
        what="the one step for a whole batch is taken by an account that owes",
        file=f"{_FUNCTIONS}/settling.sql",
        right="OR a.expired_ucr > 0 OR a.receivable_ucr > 0 OR cardinality(p_items) < 2 THEN",
        wrong="OR a.expired_ucr > 0 OR cardinality(p_items) < 2 THEN",
        tests=("ledger/test_settlement.py",),
    ),
    Bug(
        name="unknown_outcome_kept",
        what="a reservation whose caller gave up in flight is not released by its id",
        file="gateway/ledger/reservations.py",
        right="if hold.sent and not extends:",
        wrong="if hold.sent and extends:",
        tests=("ledger/test_settlement.py",),
    ),
)


class Verdict(msgspec.Struct, frozen=True):
    bug: Bug
    caught_by: str | None
    """The first red test; None: the bug survived."""
    duration_s: float


def try_out(bug: Bug, tree: Path) -> Verdict:
    """With the bug in `tree`, which is as before in the end. Raises RuntimeError where the tests say nothing of it."""
    file = tree / bug.file
    source = file.read_text("utf-8")
    began = time.monotonic()
    file.write_text(bug.put_into(source), "utf-8")
    try:
        run = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-x", "-q", "--tb=short", "--hypothesis-seed=0"),
                *("-p", "no:cacheprovider", *(f"tests/{name}" for name in bug.tests)),
            ],
            cwd=tree,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    finally:
        file.write_text(source, "utf-8")
    duration_s = time.monotonic() - began
    if run.returncode == 0:
        return Verdict(bug, None, duration_s)
    red = re.search(r"^(?:FAILED|ERROR) (\S+\.py::\w+)", run.stdout, re.MULTILINE)
    # A test that does not begin proves nothing: there the bug is one of language. At its end the books are audited.
    if run.returncode != 1 or red is None or "ERROR at setup of" in run.stdout:
        raise RuntimeError(f"{bug.name}: the tests could not be run\n{run.stdout[-4_000:]}{run.stderr[-2_000:]}")
    return Verdict(bug, red[1].removeprefix("tests/"), duration_s)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", metavar="NAME", choices=[bug.name for bug in BUGS])
    only = options.parse_args().only
    bugs = [bug for bug in BUGS if only in (None, bug.name)]
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="tollgate-bugs-") as folder:
        tree = Path(folder)
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, tree / name)
        for number, bug in enumerate(bugs, 1):
            print(f"{number}/{len(bugs)} {bug.name} …", end=" ", flush=True, file=sys.stderr)
            verdict = try_out(bug, tree)
            verdicts.append(verdict)
            print(f"{verdict.caught_by or 'SURVIVED'} ({verdict.duration_s:.0f} s)", flush=True, file=sys.stderr)
    print("| bug | what it is | caught by |\n|---|---|---|")
    for verdict in verdicts:
        caught_by = f"`{verdict.caught_by.partition('::')[2]}`" if verdict.caught_by else "**nothing**"
        print(f"| `{verdict.bug.name}` | {verdict.bug.what} | {caught_by} |")
    return int(any(verdict.caught_by is None for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
