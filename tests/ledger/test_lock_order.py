"""Rules of locking that can be read off the functions' text."""

import re

from tests.ledger.seeded_bugs import ROOT

FUNCTIONS = {
    name: body
    for file in sorted((ROOT / "gateway/postgres/functions").glob("*.sql"))
    for name, body in re.findall(
        r"^CREATE OR REPLACE FUNCTION (\w+)(.*?^\$\$;)", file.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
}
STEPS = re.compile(r"\b(?:reserve_batch|settle_batch|extend_batch|lock_for_batch)\(")


def test_the_steps_of_a_batch_are_called_by_the_one_that_locks_for_them() -> None:
    callers = [name for name, body in FUNCTIONS.items() if STEPS.search(body.replace(f"{name}(", "", 1))]
    assert callers == ["run_batch"]
    steps = [found[0] for found in STEPS.finditer(FUNCTIONS["run_batch"])]
    assert steps == ["lock_for_batch(", "settle_batch(", "extend_batch(", "reserve_batch("]


def test_the_fence_is_the_first_that_a_batch_locks() -> None:
    body = FUNCTIONS["post_batch"]
    assert 0 < body.index("FROM fence") < body.index("run_batch(")


def test_whoever_locks_several_accounts_says_in_which_order() -> None:
    several = [
        name for name, body in FUNCTIONS.items() if re.search(r"account_id (?:= ANY|IN) \([^;]*FOR NO KEY UPDATE", body)
    ]
    assert {"lock_for_batch", "transfer"} <= set(several)
    for name in several:
        assert re.search(r"ORDER BY account_id FOR NO KEY UPDATE", FUNCTIONS[name]), name
