"""Whoever works beside the calls: credits in, back and across, plans and their periods, outside callers' reservations.

What has an unknown outcome is sent again under the same id until the answer is known; each answer is written down.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

import aiohttp
import asyncpg

from gateway.core.errors import LedgerUnavailable, TollgateError
from gateway.core.units import credits_text
from gateway.ledger.deductions import Deduction
from gateway.ledger.owned import OwnedHold, OwnedWish, Owner
from gateway.ledger.used import Used
from tests.simulation.world import CLERK, PLANS, House, World

AGAIN_AFTER_S: Final = 0.05
ANSWER_WITHIN_S: Final = 5.0
PAUSE_S: Final = 0.05
OWNED_LIFE_S: Final = 1.0
RECENT_CALLS: Final = 200

T = TypeVar("T")


@dataclass(frozen=True)
class Done:
    """One operation, with the row that it must have left if it was done, and must not if it was refused."""

    what: str
    org_id: UUID
    row_id: UUID
    ucr: int
    """What the row must move, with its sign."""
    refused: str = ""


@dataclass
class Clerk:
    world: World
    lots: random.Random
    log: list[Done] = field(default_factory=list)

    async def work(self, over: asyncio.Event) -> None:
        doings: list[Callable[[House], Awaitable[None]]] = [
            self.add, self.add, self.refund, self.transfer, self.deduct, self.take, self.hold, self.hold,
            self.subscribe, self.end_period,
        ]  # fmt: skip
        while not over.is_set():
            await self.lots.choice(doings)(self.lots.choice(self.world.houses))
            await asyncio.sleep(PAUSE_S)  # his pace; nothing waits for it

    # --- through the API --------------------------------------------------------------------------------------------

    async def add(self, house: House) -> None:
        """With an idempotency key, at whichever gateway answers."""
        ucr = self.lots.randint(1, 300_000)
        wish = {
            "organization_id": str(house.org_id),
            "amount": credits_text(ucr),
            "transaction_type": self.lots.choice(["PURCHASE", "BONUS"]),
            "reason": "MANUAL_ADJUSTMENT",
            "priority": self.lots.choice([10, 50]),
        }
        key = f"add-{self.lots.getrandbits(64):x}"
        while (answer := await self._add_once(wish, key)) is None:
            await asyncio.sleep(AGAIN_AFTER_S)
        self.log.append(Done("add", house.org_id, UUID(answer["id"]), ucr))

    async def _add_once(self, wish: dict[str, Any], key: str) -> Any:
        """The answer; None while it is not known."""
        crowd = self.world.crowd
        async with crowd.changed:
            await crowd.changed.wait_for(lambda: crowd.gateways)
        gateway = self.world.any_gateway(self.lots)
        headers = {"authorization": f"Bearer {gateway.operator_key}", "idempotency-key": key}
        try:
            async with (
                asyncio.timeout(ANSWER_WITHIN_S),
                gateway.session.post(f"{gateway.url}/api/credits/add", json=wish, headers=headers) as response,
            ):
                text = await response.text()
        except (TimeoutError, aiohttp.ClientError, ConnectionError):
            return None
        if response.status == 503:
            return None
        assert response.status == 201, text
        return json.loads(text)

    # --- through the ledger's door ----------------------------------------------------------------------------------

    async def refund(self, house: House) -> None:
        """A part of a call that somebody finished."""
        orgs = {customer.org_id for customer in house.customers}
        recent = self.world.crowd.seen[-RECENT_CALLS:]
        ended = [seen.id for seen in recent if seen.end == "done" and seen.plan.customer.org_id in orgs and seen.id]
        if ended:
            id, ucr = self._next_id(), self.lots.randint(1, 20_000)
            charge_id = self.lots.choice(ended)
            desk = self.world.office.desk
            await self._note(
                "refund", house, id, ucr,
                lambda: desk.refund(house.org_id, charge_id=charge_id, id=id, amount_ucr=ucr, by=CLERK),
            )  # fmt: skip

    async def transfer(self, house: House) -> None:
        if house.allocations:
            id, ucr = self._next_id(), self.lots.randint(1, 500_000)
            source, target = self.lots.sample(house.accounts, 2)
            desk = self.world.office.desk
            await self._note(
                "transfer", house, id, -ucr,
                lambda: desk.transfer(
                    house.org_id, source_id=source, target_id=target, id=id, amount_ucr=ucr, by=CLERK
                ),
            )  # fmt: skip

    async def deduct(self, house: House) -> None:
        id, ucr = self._next_id(), self.lots.randint(1, 30_000)
        deduction = Deduction(
            id=id, account_ids=(self.lots.choice(house.accounts),), used=Used.plainly("report", price_ucr=ucr)
        )
        desk = self.world.office.desk
        await self._note("deduct", house, id, -ucr, lambda: desk.deduct(house.org_id, deduction, by=CLERK))

    async def take(self, house: House) -> None:
        id, ucr = self._next_id(), self.lots.randint(1, 30_000)
        desk = self.world.office.desk
        await self._note(
            "take", house, id, -ucr,
            lambda: desk.take(house.org_id, house.org_id, id=id, amount_ucr=ucr, by=CLERK),
        )  # fmt: skip

    async def hold(self, house: House) -> None:
        """A reservation of an outside caller: settled for less than it holds, released, or left to its time."""
        id, ucr = self._next_id(), self.lots.randint(1, 50_000)
        owner, owned = Owner.outside(house.org_id), self.world.office.owned
        wish = OwnedWish(id=id, account_ids=(self.lots.choice(house.accounts),), amount_ucr=ucr)
        made = await self._certain(lambda: owned.reserve(owner, [wish], life_s=OWNED_LIFE_S, by=CLERK))
        if isinstance(made, TollgateError):
            return
        held: OwnedHold = made[0]
        if not held.held or self.lots.random() < 0.3:
            return  # what was left to its time is charged what it had reported: nothing
        cost_ucr = self.lots.choice([0, ucr, self.lots.randint(0, ucr)])
        await self._note("settle", house, id, -cost_ucr, lambda: owned.settle(owner, id, cost_ucr=cost_ucr, by=CLERK))

    async def subscribe(self, house: House) -> None:
        """Another plan, now or later; or none any more, or one again."""
        if not house.planned:
            return
        id, plan, what = self._next_id(), self.lots.choice(PLANS), self.lots.randrange(4)
        prorate, org_id = self.lots.random() < 0.5, house.org_id
        subscriptions = self.world.office.subscriptions

        async def change() -> object:
            if what == 0:
                return await subscriptions.cancel(org_id, org_id, operation_id=id, by=CLERK)
            if what == 1:
                return await subscriptions.change(org_id, org_id, plan, operation_id=id, when="period_end", by=CLERK)
            return await subscriptions.change(org_id, org_id, plan, operation_id=id, prorate=prorate, by=CLERK)

        refused = await self._certain(change)
        if isinstance(refused, TollgateError):
            again = self._next_id()
            await self._certain(lambda: subscriptions.subscribe(org_id, org_id, plan, operation_id=again, by=CLERK))

    async def end_period(self, house: House) -> None:
        """The subscription's period is over in a moment: all that the organisation has is made so much older."""
        if house.planned:
            await self._certain(lambda: self._age(house.org_id))

    async def _age(self, org_id: UUID) -> None:
        try:
            owner = await asyncpg.connect(self.world.postgres.dsn, timeout=ANSWER_WITHIN_S)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return
        try:
            async with owner.transaction():
                await owner.execute("SELECT FROM account WHERE org_id = $1 ORDER BY account_id FOR UPDATE", org_id)
                left: timedelta | None = await owner.fetchval(
                    "SELECT max(period_end) - clock_timestamp() FROM subscription"
                    " WHERE org_id = $1 AND ended_at IS NULL",
                    org_id,
                )
                for table, columns in _INSTANTS.items() if left is not None else ():
                    moved = ", ".join(f"{column} = {column} - $2::interval" for column in columns)
                    await owner.execute(f"UPDATE {table} SET {moved} WHERE org_id = $1", org_id, left)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return  # the server was killed, and nothing was moved
        finally:
            owner.terminate()

    # ----------------------------------------------------------------------------------------------------------------

    def _next_id(self) -> UUID:
        return self.world.office.ids.next()

    async def _note(
        self, what: str, house: House, row_id: UUID, ucr: int, act: Callable[[], Awaitable[object]]
    ) -> None:
        answer = await self._certain(act)
        refused = str(answer) if isinstance(answer, TollgateError) else ""
        self.log.append(Done(what, house.org_id, row_id, ucr, refused))

    async def _certain(self, act: Callable[[], Awaitable[T]]) -> T | TollgateError:
        """Again and again with the same ids until the database has answered."""
        while True:
            try:
                return await act()
            except LedgerUnavailable:
                await asyncio.sleep(AGAIN_AFTER_S)
            except TollgateError as refusal:
                return refusal


_INSTANTS: Final = {
    "subscription": ("anchor", "period_start", "period_end"),
    "credit_grant": ("effective_at", "expires_at", "period_start"),
    "reservation": ("created_at",),
    "account": ("next_change_at",),
}
