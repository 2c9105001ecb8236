"""What a key is for and from where it may come, on the way that calls take."""

import pytest

from gateway.core.caller import KeyKind
from gateway.edge.door import AuthSettings
from tests.fakes.hostile_upstream import HostileUpstream
from tests.road import Road, Roads, chat, upstream_at


@pytest.fixture
async def road(roads: Roads, hostile: HostileUpstream) -> Road:
    auth = AuthSettings(trusted_proxies=("127.0.0.1",), failures_per_minute_max=1, failures_burst_max=2)
    return await roads.open(upstream_at(hostile.url("well_behaved")), auth=auth)


async def test_a_management_key_cannot_infer_and_is_told_why(road: Road, hostile: HostileUpstream) -> None:
    key = await road.new_key(kind=KeyKind.MANAGEMENT)
    refusal = await road.ask(chat(), key=key)
    assert (refusal.status, refusal.error["code"]) == (403, "forbidden")
    assert "management key" in refusal.error["message"]
    assert hostile.requests == []


async def test_a_key_is_held_to_its_networks(road: Road, hostile: HostileUpstream) -> None:
    key = await road.new_key(ip_allow=("198.51.100.0/24",))
    for address, status in (("198.51.100.7", 200), ("198.51.101.7", 403), ("198.51.100.7, 203.0.113.1", 403)):
        answer = await road.ask(chat(), key=key, headers={"x-forwarded-for": address})
        assert answer.status == status, address
    assert len(hostile.requests) == 1


async def test_wrong_keys_are_limited_and_good_ones_are_not(road: Road) -> None:
    assert (await road.ask(chat())).status == 200
    statuses = [(await road.ask(chat(), key="nonsense")).status for _ in range(4)]
    assert statuses == [401, 401, 429, 429]
    refusal = await road.ask(chat(), key="")
    assert (refusal.status, refusal.error["type"], refusal.error["code"]) == (429, "requests", "rate_limit_exceeded")
    assert (refusal.headers["x-should-retry"], refusal.headers["retry-after"]) == ("false", "60")
    assert (await road.ask(chat())).status == 200
    # One that was never seen would have to be looked up.
    assert (await road.ask(chat(), key=await road.new_key())).status == 429
