"""Wrong credentials are limited by address and nobody else pays for it; keys are held to their networks and kinds."""

import asyncio
from itertools import product
from uuid import UUID, uuid4

import pytest

from gateway.core.access import Principal, Role
from gateway.core.errors import TooManyRequests
from gateway.edge.api.pace import ApiSettings, Pace
from gateway.edge.door import AuthSettings, Door
from gateway.edge.rooms import KEY_RING
from gateway.identity.keys import new_token
from gateway.ops.clock import Clock
from tests.edge.conftest import OPERATOR, House
from tests.fakes.clock import SteppedClock
from tests.fakes.issuer import by_secret
from tests.postgres.outage import Outage

FROM = "x-forwarded-for"


@pytest.fixture
def auth() -> AuthSettings:
    return AuthSettings(trusted_proxies=("127.0.0.0/8",), failures_per_minute_max=1, failures_burst_max=3)


async def test_after_too_many_failures_an_address_is_told_no_more(house: House) -> None:
    key = await house.new_key(await house.new_org())
    assert (await house.ask("GET", "/v1/key", key=key)).status == 200
    wrong = {"authorization": f"Bearer {new_token()}"}
    asks = [("/api/orgs", {}), ("/v1/key", wrong), ("/api/orgs", {"authorization": "Bearer x.y"})]
    for path, headers in asks:
        assert (await house.ask("GET", path, headers=headers)).status == 401
    for path, headers in asks:
        answer = await house.ask("GET", path, headers=headers)
        assert answer.status == 429
        assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("60", "false")
    problem = await house.ask("GET", "/api/orgs")
    assert (problem.json["code"], problem.headers["content-type"]) == (
        "rate_limit_exceeded",
        "application/problem+json",
    )
    for _ in range(10):  # who is known is let in, from there as well
        assert (await house.ask("GET", "/v1/key", key=key)).status == 200
        assert (await house.ask("GET", "/api/orgs", key=OPERATOR)).status == 200


async def test_from_an_address_above_its_limit_nothing_new_is_looked_up(house: House, outage: Outage) -> None:
    org = await house.new_org()
    key, fresh = await house.new_key(org), await house.new_key(org)
    person = str(await house.new_user(org, "anna"))
    token = by_secret(org=org, sub=person, roles=["org_admin"])
    for good in (key, token):
        assert (await house.ask("GET", "/api/credits/balance", key=good)).status == 200
    for _ in range(3):
        assert (await house.ask("GET", "/v1/key", key=new_token())).status == 401
    stranger = by_secret(org=uuid4(), roles=["org_admin"])
    for path, new in product(("/v1/key", "/api/orgs"), (fresh, new_token())):
        assert (await house.ask("GET", path, key=new)).status == 429, path
    assert (await house.ask("GET", "/api/orgs", key=stranger)).status == 429
    house.app[KEY_RING].flush()  # as when the database tells of a change: who was seen is looked up all the same
    for good in (key, token):
        assert (await house.ask("GET", "/api/credits/balance", key=good)).status == 200
    assert (await house.ask("GET", "/v1/key", key=fresh, headers={FROM: "198.51.100.1"})).status == 200
    assert (await house.ask("GET", "/v1/key", key=fresh)).status == 200  # by now it was seen
    await outage.begin()  # whoever asks the database now is answered 503
    for path, new in product(("/v1/key", "/api/orgs"), (new_token(), new_token())):
        assert (await house.ask("GET", path, key=new)).status == 429, path
    assert (await house.ask("GET", "/api/orgs", key=stranger)).status == 429
    assert (await house.ask("GET", "/v1/key", key=new_token(), headers={FROM: "198.51.100.2"})).status == 503


async def test_the_address_is_the_one_that_a_trusted_proxy_names(house: House) -> None:
    for address, status in [("198.51.100.1", 401)] * 3 + [("198.51.100.1", 429), ("198.51.100.2", 401)]:
        assert (await house.ask("GET", "/v1/key", headers={FROM: address})).status == status
    forged = {FROM: "203.0.113.99, 198.51.100.1"}
    assert (await house.ask("GET", "/v1/key", headers=forged)).status == 429


async def test_a_key_is_held_to_its_networks_on_both_doors(house: House) -> None:
    org = await house.new_org()
    key = await house.new_key(org, ip_allow=["198.51.100.0/24", "2001:db8::1"])
    for address, status in (
        ("198.51.100.200", 200),
        ("2001:db8::1", 200),
        ("198.51.101.1", 403),
        ("2001:db8::2", 403),
        ("nonsense", 403),
        ("198.51.100.1, 203.0.113.5", 403),
    ):
        for path in ("/v1/key", "/api/credits/balance"):
            answer = await house.ask("GET", path, key=key, headers={FROM: address})
            assert answer.status == status, (address, path)
    assert (await house.ask("GET", "/v1/key", key=key)).status == 403


async def test_the_audit_log_has_the_address_behind_the_proxy(house: House, pool: object) -> None:
    await house.operate("POST", "/api/orgs", {"name": "x"}, headers={FROM: "198.51.100.9"})
    address = await pool.fetchval("SELECT address FROM audit_log WHERE action = 'org.created'")  # type: ignore[attr-defined]
    assert address == "198.51.100.9"


def test_a_proxy_that_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="10"):
        Door(AuthSettings(trusted_proxies=("10.0.0.1/8",)), clock=Clock())


class TestPace:
    @pytest.fixture
    def auth(self) -> AuthSettings:
        return AuthSettings(trusted_proxies=("127.0.0.0/8",))

    @pytest.fixture
    def pace(self) -> Pace:
        return Pace(ApiSettings(requests_per_s_max=1, requests_burst_max=5, open_max=1), clock=SteppedClock())

    async def test_each_asker_has_a_rate_of_its_own(self, house: House) -> None:
        org = (await house.operate("POST", "/api/orgs", {"name": "x"})).json["id"]
        key = (await house.operate("POST", f"/api/orgs/{org}/keys", {"name": "x"})).json["key"]
        for _ in range(5):
            assert (await house.ask("GET", "/api/credits/balance", key=key)).status == 200
        answer = await house.ask("GET", "/api/credits/balance", key=key)
        assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (429, "rate_limit_exceeded", "1")
        assert (await house.operate("GET", "/api/orgs")).status == 200
        assert (await house.ask("GET", "/v1/key", key=key)).status == 200  # which is not /api

    async def test_so_many_are_under_way_and_no_more(self, house: House) -> None:
        host, port = house.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /api/orgs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {OPERATOR}\r\n"
        writer.write(f"{head}content-length: 12\r\nexpect: 100-continue\r\n\r\n".encode())
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"  # its body is waited for
        answer = await house.operate("GET", "/api/orgs")
        assert (answer.status, answer.json["code"]) == (429, "rate_limit_exceeded")
        writer.write(b'{"name":"x"}')
        await reader.readline()
        assert await reader.readline() == b"HTTP/1.1 201 Created\r\n"
        assert (await house.operate("GET", "/api/orgs")).status == 200
        writer.close()
        await writer.wait_closed()

    def test_so_many_batches_are_under_way_and_no_more(self) -> None:
        pace = Pace(ApiSettings(batches_open_max=2), clock=SteppedClock())
        one, other = (Principal(actor=f"key:{n}", roles=frozenset({Role.MANAGER}), org_id=UUID(int=1)) for n in (1, 2))
        with pace.of_batch(one):
            with pace.of_batch(one), pace.of_batch(other), pytest.raises(TooManyRequests, match="2 of your batches"):
                pace.of_batch(one).__enter__()
            with pace.of_batch(one):
                pass

    async def test_the_documentation_is_limited_by_address(self, house: House) -> None:
        for address, count, status in (("198.51.100.1", 5, 200), ("198.51.100.1", 1, 429), ("198.51.100.2", 1, 200)):
            for _ in range(count):
                assert (await house.ask("GET", "/api/openapi.json", headers={FROM: address})).status == status
