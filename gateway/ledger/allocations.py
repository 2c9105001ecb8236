"""What users begin with: a rule for each role, applied in the transaction that makes the user."""

from typing import Literal, get_args
from uuid import UUID

import msgspec

from gateway.core.errors import InvalidRequest, NotFound
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.core.roles import Role
from gateway.core.units import UCR_MAX
from gateway.ledger.accounts import Executor, lock_pool
from gateway.ledger.plans import Period
from gateway.postgres.once import Guard, Removed, once
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL = load("allocations")


class AllocationRule(msgspec.Struct, frozen=True, kw_only=True):
    """`transfer`: credits out of the pool, once. `quota`: so much each period, without drawing on the pool."""

    role: Role
    kind: Literal["transfer", "quota"]
    amount_ucr: int
    period: Period | None = None
    """Of a quota."""
    repeated: bool = False


class Allocations:
    """A changed rule is for users to come."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool

    @unavailable_in_outage
    async def rules(self, org_id: UUID) -> list[AllocationRule]:
        """One a role at most, by the role's name."""
        return [AllocationRule(**dict(row.items())) for row in await self._pool.fetch(_SQL.rules, org_id)]

    @unavailable_in_outage
    async def set_rule(
        self,
        org_id: UUID,
        rule: AllocationRule,
        *,
        by: Origin,
        idempotency: Idempotency | None = None,
        guard: Guard[AllocationRule] | None = None,
    ) -> AllocationRule:
        """In place of the role's earlier one. Raises InvalidRequest, NotFound (no such organisation) or what `guard`
        raises; then nothing changed.
        """
        if rule.role not in get_args(Role):
            raise InvalidRequest(f"The role must be one of {', '.join(get_args(Role))}.", param="role")
        if not 0 < rule.amount_ucr <= UCR_MAX:
            raise InvalidRequest("The amount must be above zero and within the largest amount.", param="amount")
        if (rule.kind == "quota") != (rule.period in get_args(Period)):
            raise InvalidRequest("A quota has a period, and a transfer, which is made once, has none.", param="period")
        terms = (rule.role, rule.kind, rule.amount_ucr, rule.period)

        async def change(connection: Executor) -> AllocationRule:
            if guard is not None:
                guard(await _locked(connection, org_id, rule.role))
            if not await connection.fetchval(_SQL.set_rule, org_id, *terms, by.row()):
                raise NotFound(f"There is no organisation {org_id} with an account; nothing was changed.")
            return rule

        return await once(self._pool, org_id, idempotency, change, answer=AllocationRule)

    @unavailable_in_outage
    async def drop_rule(
        self,
        org_id: UUID,
        role: Role,
        *,
        by: Origin,
        idempotency: Idempotency | None = None,
        guard: Guard[AllocationRule] | None = None,
    ) -> Removed:
        """Users of the role begin with an empty account. Dropping what is not there changes nothing.

        Raises what `guard` raises.
        """

        async def change(connection: Executor) -> Removed:
            if guard is not None:
                guard(await _locked(connection, org_id, role))
            await connection.execute(_SQL.drop_rule, org_id, role, by.row())
            return Removed()

        return await once(self._pool, org_id, idempotency, change, answer=Removed)


async def _locked(connection: Executor, org_id: UUID, role: Role) -> AllocationRule | None:
    """What there is, under the lock that changes are made under. Raises NotFound."""
    await lock_pool(connection, org_id)
    row = await connection.fetchrow(_SQL.rule, org_id, role)
    return None if row is None else AllocationRule(**dict(row.items()))
