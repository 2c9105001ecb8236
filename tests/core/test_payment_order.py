"""Who pays: restricted accounts for what they are for, then allocation and pool as the policy says."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.payment_order import PayingAccount, PaymentOrder, candidate_accounts

POOL, MINE, YOURS, FAST, DRAW, BOTH = (UUID(int=number) for number in range(1, 7))
ME, YOU = UUID(int=11), UUID(int=12)
ACCOUNTS = (
    PayingAccount(account_id=BOTH, kind="restricted", models=frozenset({"fast"}), features=frozenset({"draw"})),
    PayingAccount(account_id=POOL, kind="pool"),
    PayingAccount(account_id=YOURS, kind="user", user_id=YOU),
    PayingAccount(account_id=DRAW, kind="restricted", features=frozenset({"draw"})),
    PayingAccount(account_id=MINE, kind="user", user_id=ME),
    PayingAccount(account_id=FAST, kind="restricted", models=frozenset({"fast"})),
)


def candidates(
    order: PaymentOrder = "allocation_first", *, user_id: UUID | None = ME, model: str = "slow", feature: str = ""
) -> tuple[UUID, ...]:
    return candidate_accounts(ACCOUNTS, user_id=user_id, model=model, feature=feature, order=order)


@pytest.mark.parametrize(
    ("order", "expected"),
    [("allocation_first", (MINE, POOL)), ("pool_first", (POOL, MINE)), ("allocation_only", (MINE,))],
)
def test_the_policy_orders_allocation_and_pool(order: PaymentOrder, expected: tuple[UUID, ...]) -> None:
    assert candidates(order) == expected


def test_restricted_accounts_that_are_for_this_come_first_by_id() -> None:
    assert candidates(model="fast") == (FAST, BOTH, MINE, POOL)
    assert candidates(feature="draw") == (DRAW, BOTH, MINE, POOL)
    assert candidates("allocation_only", model="fast", feature="draw") == (FAST, DRAW, BOTH, MINE)


def test_without_a_user_the_pool_pays_whatever_the_policy() -> None:
    for order in ("allocation_first", "pool_first", "allocation_only"):
        assert candidates(order, user_id=None) == (POOL,)


def test_a_user_without_an_allocation_has_the_pool_unless_the_policy_forbids_it() -> None:
    assert candidates(user_id=UUID(int=13)) == (POOL,)
    assert candidates("allocation_only", user_id=UUID(int=13)) == ()


@given(
    order=st.sampled_from(["allocation_first", "pool_first", "allocation_only"]),
    user_id=st.sampled_from([None, ME, YOU]),
    model=st.sampled_from(["fast", "slow", ""]),
    feature=st.sampled_from(["draw", "talk", ""]),
    accounts=st.permutations(ACCOUNTS),
)
def test_nobody_pays_for_another_and_the_order_of_accounts_says_nothing(
    order: PaymentOrder, user_id: UUID | None, model: str, feature: str, accounts: list[PayingAccount]
) -> None:
    found = candidate_accounts(accounts, user_id=user_id, model=model, feature=feature, order=order)
    assert found == candidate_accounts(ACCOUNTS, user_id=user_id, model=model, feature=feature, order=order)
    assert len(set(found)) == len(found)
    assert {ME: YOURS, YOU: MINE}.get(user_id) not in found if user_id else not {MINE, YOURS} & set(found)
