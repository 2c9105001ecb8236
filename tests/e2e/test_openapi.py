"""/api does what its OpenAPI document says, for everybody who may ask: no answer that is not described, none above 499.

`make fuzz-api EXAMPLES=200` asks more; `SEED=…` asks for other things.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from gateway.replay.server import ReplayServer
from tests.e2e.fuzzing import Fuzz
from tests.e2e.running import RunningGateway, running_gateway
from tests.fakes.issuer import AUDIENCE, ISSUER, SECRET, by_secret

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "2"))
"""Of each operation and credential: so many that the document allows, and so many that it does not."""
SEED: Final = int(os.environ.get("FUZZ_SEED", "4"))

_CONFIG: Final = f"""
[auth]
failures_per_minute_max = 1000000
failures_burst_max = 1000000

[api]
requests_per_s_max = 1000000
requests_burst_max = 1000000

[jwt]
algorithms = ["HS256"]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
"""


@pytest.fixture
async def gateway(dsn: str, replay: ReplayServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(
        dsn=dsn,
        upstream_url=replay.base_url,
        data_dir=tmp_path,
        config=_CONFIG,
        environ={"TOLLGATE_JWT_SECRET": SECRET},
    ) as running:
        yield running
        assert await running.stop() == 0
        # Reservations that are asked for end by themselves, too, which is told.
        assert [line for line in running.said.complaints() if '"ledger.expired"' not in line] == []


@pytest.mark.parametrize("who", ["operator", "org_admin", "application"])
async def test_every_answer_is_as_the_document_says(gateway: RunningGateway, who: str) -> None:
    customer = await gateway.customer("1000")
    stranger = await gateway.customer("1000")
    people = f"/orgs/{customer.org_id}/users"
    admin = await gateway.api("POST", people, json={"external_id": "anna", "name": "Anna"})
    other = await gateway.api("POST", people, json={"external_id": "bert", "name": "Bert"})
    (key,) = (await gateway.api("GET", f"/orgs/{customer.org_id}/keys"))["data"]
    credential = {
        "operator": gateway.operator_key,
        "org_admin": by_secret(org=customer.org_id, sub="anna", roles=["org_admin"], exp=int(time.time()) + 3_600),
        "application": customer.api_key,
    }[who]
    kept = frozenset({admin["id"], key["id"]})
    fuzz = Fuzz(gateway.url, credential, examples=EXAMPLES, number=SEED, kept=kept)
    fuzz.know("user_id", other["id"])
    fuzz.know("org_id", customer.org_id)
    fuzz.know("account_id", customer.org_id)
    fuzz.know("account_id", other["id"])
    fuzz.know("account_id", stranger.org_id)
    print(f"FUZZ_SEED={SEED} FUZZ_EXAMPLES={EXAMPLES} who={who}")
    await asyncio.to_thread(fuzz.run)
    for label, statuses in fuzz.statuses.items():
        print(f"{label}: {dict(sorted(statuses.items()))}")
    assert not fuzz.troubles, "\n\n".join(f"{what}\n{first}" for what, first in fuzz.troubles.items())
