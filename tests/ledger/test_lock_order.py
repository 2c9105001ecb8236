"""Rules of locking that can be read off the functions' text."""

import re

import pytest

from tests.ledger.seeded_bugs import ROOT

FUNCTIONS = {
    name: body
    for file in sorted((ROOT / "gateway/postgres/functions").glob("*.sql"))
    for name, body in re.findall(
        r"^CREATE OR REPLACE FUNCTION (\w+)(.*?^\$\$;)", file.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
}
STEPS = re.compile(r"\b(?:reserve_batch|settle_batch|extend_batch)\(")
CALLERS = [
    name
    for name, body in FUNCTIONS.items()
    if name not in {"reserve_batch", "settle_batch", "extend_batch"} and STEPS.search(body)
]


def test_the_callers_are_found() -> None:
    assert {"post_batch", "deduct", "reserve_owned", "settle_owned", "recover_reservations"} <= set(CALLERS)


@pytest.mark.parametrize("name", CALLERS)
def test_what_a_step_of_a_batch_touches_was_locked_before(name: str) -> None:
    body = FUNCTIONS[name]
    assert "lock_for_batch(" in body
    # Where it is an argument of the step itself, it is worked on before the step.
    first = STEPS.search(body)
    assert first is not None
    statement_end = body.index(";", first.start())
    assert body.index("lock_for_batch(") < statement_end


def test_whoever_locks_several_accounts_says_in_which_order() -> None:
    several = [
        name for name, body in FUNCTIONS.items() if re.search(r"account_id (?:= ANY|IN) \([^;]*FOR NO KEY UPDATE", body)
    ]
    assert {"lock_for_batch", "transfer"} <= set(several)
    for name in several:
        assert re.search(r"ORDER BY account_id FOR NO KEY UPDATE", FUNCTIONS[name]), name
