"""Users are made whole, with what the rule for their role gives, once; and change without a word to the hot path."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import get_args
from uuid import UUID

import asyncpg
import pytest

from gateway.core.errors import Conflict, InsufficientCredits, InvalidRequest, NotFound, OrgSuspended, UserSuspended
from gateway.core.origin import ITSELF, Origin
from gateway.core.payment_order import candidate_accounts
from gateway.core.roles import Role
from gateway.identity.key_ring import KeyRing, KeyRingSettings
from gateway.identity.keys import Keys
from gateway.identity.orgs import Org, Orgs
from gateway.identity.users import Users
from gateway.ledger import accounts
from gateway.ledger.allocations import AllocationRule, Allocations
from gateway.ledger.audit import find_violations
from gateway.ledger.grants import Grant, TransactionType, add_grant
from gateway.ledger.policy import Policies, Policy
from gateway.ledger.subscriptions import Subscriptions
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource

LASTING = KeyRingSettings(ttl_s=3600, unknown_ttl_s=3600, ping_s=3600, reconnect_s=0.01)


@pytest.fixture
async def org(pool: asyncpg.Pool, ids: IdSource) -> AsyncIterator[Org]:
    """With real books, which must be sound at the end."""
    yield await Orgs(pool, ids=ids, books=accounts).create("Acme")
    assert [page async for page in find_violations(pool, full=True, accounts_at_once=1_000) if page] == []


@pytest.fixture
def users(pool: asyncpg.Pool, ids: IdSource) -> Users:
    return Users(pool, ids=ids, forget_org=lambda _: None)


@pytest.fixture
def allocations(pool: asyncpg.Pool) -> Allocations:
    return Allocations(pool)


@pytest.fixture
async def ring(pool: asyncpg.Pool, dsn: str) -> AsyncIterator[KeyRing]:
    ring = KeyRing(pool, dsn=dsn, clock=Clock(), settings=LASTING)
    await ring.start()
    await asyncio.wait_for(ring.listening(), 5)
    yield ring
    await ring.stop()


async def fill(pool: asyncpg.Pool, ids: IdSource, org: Org, ucr: int, **facts: object) -> None:
    grant = Grant(
        id=ids.next(),
        org_id=org.org_id,
        account_id=org.account_id,
        amount_ucr=ucr,
        transaction_type=TransactionType.PURCHASE,
        **facts,  # type: ignore[arg-type]
    )
    await add_grant(pool, grant, by=ITSELF, idempotency=None)


async def balances(pool: asyncpg.Pool, org: Org) -> dict[UUID, int]:
    rows = await pool.fetch("SELECT account_id, balance_ucr FROM account WHERE org_id = $1", org.org_id)
    return {row["account_id"]: row["balance_ucr"] for row in rows}


async def until_heard(ring: KeyRing, token: str, **facts: object) -> None:
    """Returns once the ring's caller has these facts; a notification takes a moment, a second would be too long."""
    async with asyncio.timeout(1):
        while True:
            caller = await ring.caller(token)
            if all(getattr(caller, name) == value for name, value in facts.items()):
                return
            await asyncio.sleep(0)


# --- making them ----------------------------------------------------------------------------------------------------


async def test_a_user_is_made_with_an_account_of_the_same_id(users: Users, org: Org, pool: asyncpg.Pool) -> None:
    made = await users.create(
        org.org_id, external_id="7", name="Ada", email="ada@acme.test", role="org_admin", by=ITSELF
    )
    assert (made.external_id, made.name, made.email, made.role, made.status) == (
        "7",
        "Ada",
        "ada@acme.test",
        "org_admin",
        "active",
    )
    assert await users.get(org.org_id, made.user_id) == made == await users.named(org.org_id, "7")
    assert await users.named(org.org_id, str(made.user_id)) == made
    assert await balances(pool, org) == {org.account_id: 0, made.account_id: 0}


async def test_a_rule_that_transfers_takes_from_the_pool_and_makes_credits_no_better(
    users: Users, org: Org, pool: asyncpg.Pool, ids: IdSource, allocations: Allocations
) -> None:
    await fill(pool, ids, org, 30, priority=3, category="promo")
    await fill(pool, ids, org, 100)
    await allocations.set_rule(org.org_id, AllocationRule(role="member", kind="transfer", amount_ucr=50), by=ITSELF)
    made = await users.create(org.org_id, external_id="7", name="Ada", by=ITSELF)
    assert await balances(pool, org) == {org.account_id: 80, made.account_id: 50}
    moved = await pool.fetch(
        "SELECT amount_ucr, priority, category, kind FROM credit_grant WHERE account_id = $1 ORDER BY amount_ucr DESC",
        made.account_id,
    )
    assert [tuple(row) for row in moved] == [(30, 3, "promo", "transfer_in"), (20, 50, "paid", "transfer_in")]
    other = await users.create(org.org_id, external_id="8", name="Bob", role="viewer", by=ITSELF)  # no rule, no credits
    assert (await balances(pool, org))[other.account_id] == 0


async def test_a_pool_that_lacks_it_makes_no_user(
    users: Users, org: Org, pool: asyncpg.Pool, ids: IdSource, allocations: Allocations
) -> None:
    await fill(pool, ids, org, 49)
    await allocations.set_rule(org.org_id, AllocationRule(role="member", kind="transfer", amount_ucr=50), by=ITSELF)
    with pytest.raises(InsufficientCredits, match="the user was not created") as refused:
        await users.create(org.org_id, external_id="7", name="Ada", by=ITSELF)
    assert (refused.value.available_ucr, refused.value.required_ucr) == (49, 50)
    assert await users.page(org.org_id, limit=10, offset=0) == ([], 0)
    assert await balances(pool, org) == {org.account_id: 49}
    await accounts.set_status(pool, org.org_id, "suspended")
    with pytest.raises(OrgSuspended, match="not created"):
        await users.create(org.org_id, external_id="7", name="Ada", by=ITSELF)


async def test_a_quota_is_granted_each_period_without_drawing(
    users: Users, org: Org, pool: asyncpg.Pool, allocations: Allocations
) -> None:
    await allocations.set_rule(
        org.org_id, AllocationRule(role="member", kind="quota", amount_ucr=50, period="day"), by=ITSELF
    )
    made = await users.create(org.org_id, external_id="7", name="Ada", by=ITSELF)
    assert await balances(pool, org) == {org.account_id: 0, made.account_id: 50}
    current = await Subscriptions(pool, moved=lambda _: None).current(org.org_id, made.account_id)
    assert current is not None
    assert (current.kind, current.plan.period, current.plan.amount_ucr) == ("quota", "day", 50)
    kinds = await pool.fetch("SELECT kind FROM credit_grant WHERE account_id = $1", made.account_id)
    assert [row["kind"] for row in kinds] == ["quota"]


async def test_making_a_user_twice_changes_nothing(
    users: Users, org: Org, pool: asyncpg.Pool, ids: IdSource, allocations: Allocations
) -> None:
    await fill(pool, ids, org, 100)
    await allocations.set_rule(org.org_id, AllocationRule(role="member", kind="transfer", amount_ucr=30), by=ITSELF)
    for round in range(20):
        id = ids.next()
        made = await asyncio.gather(
            *(users.create(org.org_id, external_id=f"{round}", name="Ada", user_id=id, by=ITSELF) for _ in range(3)),
            *(users.create(org.org_id, external_id=f"{round}", name="Ada", by=ITSELF) for _ in range(2)),
            return_exceptions=round > 2,
        )
        if round <= 2:
            assert len({user.user_id for user in made if not isinstance(user, BaseException)}) == 1
        else:  # three times thirty is all the pool had
            assert {type(each) for each in made} == {InsufficientCredits}
    assert sorted((await balances(pool, org)).values()) == [10, 30, 30, 30]


async def test_a_user_with_other_facts_is_a_conflict(users: Users, org: Org, ids: IdSource) -> None:
    made = await users.create(org.org_id, external_id="7", name="Ada", by=ITSELF)
    for facts in (
        {"name": "Bob"},
        {"role": "viewer"},
        {"email": "a@b.test"},
        {"external_id": "8", "user_id": made.user_id},
    ):
        with pytest.raises(Conflict, match="nothing was changed"):
            await users.create(org.org_id, **{"external_id": "7", "name": "Ada", **facts}, by=ITSELF)  # type: ignore[arg-type]
    assert (await users.page(org.org_id, limit=10, offset=0)) == ([made], 1)


@pytest.mark.parametrize(
    "facts",
    [
        {"external_id": ""},
        {"external_id": "erased:"},
        {"external_id": "erased:7"},
        {"name": "a\nb"},
        {"name": "x" * 201},
        {"email": "nobody"},
        {"email": "a b@c"},
        {"role": "owner"},
    ],
)
async def test_a_user_that_makes_no_sense_is_refused(users: Users, org: Org, facts: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        await users.create(org.org_id, **{"external_id": "7", "name": "Ada", **facts}, by=ITSELF)  # type: ignore[arg-type]


async def test_unknown_orgs_and_users_are_not_found(
    users: Users, org: Org, ids: IdSource, allocations: Allocations
) -> None:
    nobody = ids.next()
    with pytest.raises(NotFound, match="not created"):
        await users.create(nobody, external_id="7", name="Ada", by=ITSELF)
    with pytest.raises(NotFound):
        await users.get(org.org_id, nobody)
    for ask in (users.suspend, users.resume):
        with pytest.raises(NotFound):
            await ask(org.org_id, nobody, by=ITSELF)
    with pytest.raises(NotFound):
        await users.named(org.org_id, "nobody")
    with pytest.raises(NotFound):
        await allocations.set_rule(nobody, AllocationRule(role="member", kind="transfer", amount_ucr=1), by=ITSELF)


async def test_rules_are_one_a_role_and_can_be_dropped(org: Org, allocations: Allocations) -> None:
    rule = AllocationRule(role="member", kind="quota", amount_ucr=5, period="week")
    await allocations.set_rule(org.org_id, AllocationRule(role="member", kind="transfer", amount_ucr=1), by=ITSELF)
    await allocations.set_rule(org.org_id, rule, by=ITSELF)
    assert await allocations.rules(org.org_id) == [rule]
    await allocations.drop_rule(org.org_id, "member", by=ITSELF)
    assert await allocations.rules(org.org_id) == []
    for wrong in (
        AllocationRule(role="member", kind="quota", amount_ucr=5),
        AllocationRule(role="member", kind="transfer", amount_ucr=5, period="day"),
        AllocationRule(role="member", kind="transfer", amount_ucr=0),
        AllocationRule(role="boss", kind="transfer", amount_ucr=5),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidRequest):
            await allocations.set_rule(org.org_id, wrong, by=ITSELF)


async def test_every_role_is_one_the_database_knows(users: Users, org: Org) -> None:
    made = await users.create(org.org_id, external_id="7", name="Ada", by=ITSELF)
    for role in get_args(Role):
        assert (await users.set_role(org.org_id, made.user_id, role, by=ITSELF)).role == role
    with pytest.raises(InvalidRequest):
        await users.set_role(org.org_id, made.user_id, "owner", by=ITSELF)  # type: ignore[arg-type]


async def test_what_is_done_with_users_is_told_in_the_audit_log(
    users: Users, org: Org, allocations: Allocations, pool: asyncpg.Pool, ids: IdSource
) -> None:
    by = Origin(actor="bea", address="192.0.2.7", reason="asked for")
    await fill(pool, ids, org, 50)
    await allocations.set_rule(org.org_id, AllocationRule(role="member", kind="transfer", amount_ucr=50), by=by)
    made = await users.create(org.org_id, external_id="7", name="Ada", by=by)
    with pytest.raises(InsufficientCredits):
        await users.create(org.org_id, external_id="8", name="Bob", by=by)
    for _ in range(2):  # what is so already is not told again
        await users.suspend(org.org_id, made.user_id, by=by)
    await users.resume(org.org_id, made.user_id, by=by)
    await users.set_role(org.org_id, made.user_id, "viewer", by=by)
    entries = await pool.fetch(
        "SELECT action, actor, reason, before, after FROM audit_log WHERE object_id = $1 ORDER BY id", made.user_id
    )
    begins = '{"role": "member", "amount_ucr": 50, "begins_with": "transfer"}'
    assert [tuple(entry) for entry in entries] == [
        ("user.created", "bea", "asked for", None, begins),
        ("user.suspended", "bea", "asked for", '{"status": "active"}', '{"status": "suspended"}'),
        ("user.resumed", "bea", "asked for", '{"status": "suspended"}', '{"status": "active"}'),
        ("user.role_changed", "bea", "asked for", '{"role": "member"}', '{"role": "viewer"}'),
    ]
    assert await pool.fetchval("SELECT count(*) FROM audit_log WHERE action = 'user.created'") == 1


# --- who hears of it ------------------------------------------------------------------------------------------------


async def test_a_key_of_a_suspended_user_is_refused_until_they_are_resumed(
    users: Users, org: Org, keys: Keys, ring: KeyRing
) -> None:
    made = await users.create(org.org_id, external_id="7", name="Ada", by=ITSELF)
    _, token = await keys.create(org.org_id, name="hers", user_id=made.user_id)
    _, other = await keys.create(org.org_id, name="ours")
    assert (await ring.caller(token)).user_id == made.user_id
    await users.suspend(org.org_id, made.user_id, by=ITSELF)
    with pytest.raises(UserSuspended, match="Ada is suspended; nothing was reserved or sent"):
        await until_heard(ring, token, user_id=None)
    assert (await ring.caller(other)).key_name == "ours"
    await users.resume(org.org_id, made.user_id, by=ITSELF)
    async with asyncio.timeout(1):
        while True:
            with contextlib.suppress(UserSuspended):
                await ring.caller(token)
                break
            await asyncio.sleep(0)


async def test_a_key_is_made_only_for_a_user_of_its_org(users: Users, org: Org, orgs: Orgs, keys: Keys) -> None:
    stranger = await users.create(
        (await Orgs(users._pool, ids=users._ids, books=accounts).create("Other")).org_id,
        external_id="7",
        name="Eve",
        by=ITSELF,
    )
    with pytest.raises(NotFound, match="no key was made"):
        await keys.create(org.org_id, name="hers", user_id=stranger.user_id)


async def test_a_caller_knows_the_accounts_that_may_pay_and_hears_of_new_ones(
    users: Users, org: Org, keys: Keys, ring: KeyRing, pool: asyncpg.Pool, ids: IdSource
) -> None:
    made = await users.create(org.org_id, external_id="7", name="Ada", by=ITSELF)
    await users.create(org.org_id, external_id="8", name="Bob", by=ITSELF)
    _, token = await keys.create(org.org_id, name="hers", user_id=made.user_id)
    caller = await ring.caller(token)
    assert [(a.kind, a.account_id) for a in caller.accounts] == [("pool", org.account_id), ("user", made.account_id)]
    fast = ids.next()
    await accounts.open_restricted(pool, org.org_id, fast, name="fast", models=("fast",))
    async with asyncio.timeout(1):
        while len((caller := await ring.caller(token)).accounts) < 3:
            await asyncio.sleep(0)
    asked = {"user_id": caller.user_id, "feature": "", "order": caller.payment_order}
    assert candidate_accounts(caller.accounts, model="fast", **asked) == (fast, made.account_id, org.account_id)  # type: ignore[arg-type]
    await pool.execute("UPDATE account SET status = 'closed' WHERE account_id = $1", fast)
    async with asyncio.timeout(1):
        while len((await ring.caller(token)).accounts) > 2:
            await asyncio.sleep(0)


async def test_a_changed_policy_is_heard(org: Org, keys: Keys, ring: KeyRing, pool: asyncpg.Pool) -> None:
    _, token = await keys.create(org.org_id, name="ours")
    assert (await ring.caller(token)).payment_order == "allocation_first"
    await Policies(pool).set(org.org_id, payment_order="pool_first", by=ITSELF)
    await until_heard(ring, token, payment_order="pool_first")


async def test_calls_and_grants_announce_nothing(
    org: Org, owner: asyncpg.Connection, pool: asyncpg.Pool, ids: IdSource
) -> None:
    heard: list[str] = []
    await owner.add_listener("tollgate_identity", lambda _c, _p, _ch, payload: heard.append(str(payload)))
    await fill(pool, ids, org, 100)
    for change in (
        "UPDATE account SET held_ucr = 0, open_count = 0, version = version WHERE org_id = $1",
        "UPDATE account SET status = status WHERE org_id = $1",
        "UPDATE account SET parked_at = NULL WHERE org_id = $1",
        "SELECT save_account(a) FROM account a WHERE org_id = $1",
    ):
        await pool.execute(change, org.org_id)
    assert heard == []
    await pool.execute("UPDATE account SET status = 'suspended' WHERE org_id = $1", org.org_id)
    async with asyncio.timeout(5):
        while not heard:
            await owner.execute("SELECT 1")
    assert heard == [f"org {org.org_id}"]


async def test_the_trigger_on_accounts_looks_at_the_status_alone(owner: asyncpg.Connection) -> None:
    triggers = await owner.fetch(
        """
        SELECT pg_get_triggerdef(oid) AS text FROM pg_trigger WHERE tgrelid = 'account'::regclass AND NOT tgisinternal
        """
    )
    [announces] = [row["text"] for row in triggers if " UPDATE" in row["text"] and "announce_" in row["text"]]
    assert "UPDATE OF status ON" in announces
    assert "WHEN (((old.status)::text IS DISTINCT FROM (new.status)::text))" in announces


# --- the policy -----------------------------------------------------------------------------------------------------


async def test_a_policy_has_defaults_and_changes_one_value_at_a_time(org: Org, pool: asyncpg.Pool) -> None:
    policies = Policies(pool)
    assert await policies.get(org.org_id) == Policy(payment_order="allocation_first", time_zone="UTC")
    await policies.set(org.org_id, time_zone="Europe/Berlin", by=ITSELF)
    changed = await policies.set(org.org_id, payment_order="allocation_only", by=ITSELF)
    assert (
        changed == await policies.get(org.org_id) == Policy(payment_order="allocation_only", time_zone="Europe/Berlin")
    )


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "utc+3", "EST5EDT4", "a\x00", "../etc/passwd"])
async def test_a_zone_that_either_side_does_not_know_is_refused(org: Org, pool: asyncpg.Pool, zone: str) -> None:
    with pytest.raises(InvalidRequest, match="IANA name") as refused:
        await Policies(pool).set(org.org_id, time_zone=zone, by=ITSELF)
    assert refused.value.param == "time_zone"
    assert (await Policies(pool).get(org.org_id)).time_zone == "UTC"


async def test_a_policy_that_makes_no_sense_is_refused(org: Org, pool: asyncpg.Pool, ids: IdSource) -> None:
    with pytest.raises(InvalidRequest, match="payment_order must be one of"):
        await Policies(pool).set(org.org_id, payment_order="mine_first", by=ITSELF)  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="nothing was changed"):
        await Policies(pool).set(ids.next(), time_zone="UTC", by=ITSELF)
    with pytest.raises(asyncpg.InvalidParameterValueError):  # nor behind our back
        await pool.execute("INSERT INTO credit_policy (org_id, time_zone) VALUES ($1, 'Nowhere')", org.org_id)
