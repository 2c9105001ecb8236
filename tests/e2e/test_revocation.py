"""A revoked key is refused by every gateway within a second, while all of them are busy with its calls.

What is counted is by the database's own time of the revocation: no call that began a second after it is answered. How
long the refusal takes to arrive is not waited for by any clock of the test: each caller goes on until it is refused.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from gateway.replay.server import ReplayServer
from tests.e2e.running import Customer, RunningGateway, running_gateway

CALLERS: Final = 4
"""Of each gateway, half of them streaming."""
WITHIN: Final = timedelta(seconds=1)
GIVE_UP_S: Final = 60.0
CALLS_BEFORE: Final = 3
"""Of each caller, before the key is revoked: all gateways remember it by then."""


class Load:
    """Callers of one gateway, each asking again as soon as it is answered."""

    def __init__(self, gateway: RunningGateway, customer: Customer) -> None:
        self.gateway = gateway
        self.headers = {"authorization": f"Bearer {customer.api_key}"}
        self.answered: list[datetime] = []
        """When each call began that was answered."""
        self.refused: list[datetime] = []
        self.warm = asyncio.Semaphore(0)

    async def caller(self, *, stream: bool) -> None:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        for number in range(1, 1_000_000):
            began = datetime.now(UTC)
            url = f"{self.gateway.base_url}/chat/completions"
            async with self.gateway.session.post(url, json=body, headers=self.headers) as response:
                await response.read()
            if response.status == 401:
                self.refused.append(began)
                return
            assert response.status == 200
            self.answered.append(began)
            if number == CALLS_BEFORE:
                self.warm.release()


async def test_a_revocation_under_load_is_heard_by_both_within_a_second(
    dsn: str, replay: ReplayServer, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with (
        running_gateway(dsn=dsn, upstream_url=replay.base_url, data_dir=tmp_path / "a") as first,
        running_gateway(dsn=dsn, upstream_url=replay.base_url, data_dir=tmp_path / "b") as second,
        asyncio.timeout(GIVE_UP_S),
        asyncio.TaskGroup() as callers,
    ):
        customer = await first.customer(credits="1000")
        (key,) = (await first.api("GET", f"/orgs/{customer.org_id}/keys"))["data"]
        loads = [Load(gateway, customer) for gateway in (first, second)]
        for load in loads:
            for number in range(CALLERS):
                callers.create_task(load.caller(stream=number % 2 == 0))
        for load in loads:
            for _ in range(CALLERS):
                await load.warm.acquire()
        revoked = await first.api("DELETE", f"/orgs/{customer.org_id}/keys/{key['id']}")
    at = datetime.fromisoformat(revoked["revoked_at"])
    for load in loads:
        assert len(load.refused) == CALLERS
        assert [began for began in load.answered if began >= at + WITHIN] == []
        assert any(began < at for began in load.answered)
