"""Nobody gets past the door without the right key, and the door tells nothing."""

import asyncio
import re
from itertools import product

from gateway.edge.api.table import ENDPOINTS
from gateway.identity.keys import new_token
from tests.edge.conftest import OPERATOR, House
from tests.postgres.outage import Outage

API = [(endpoint.method, re.sub(r"{.*?}", "x", endpoint.path)) for endpoint in ENDPOINTS]
ACCOUNT = ["/v1/models", "/v1/models/long", "/v1/credits", "/v1/key", "/v1/generation?id=x"]

WRONG = [
    {},
    {"authorization": ""},
    {"authorization": "Bearer"},
    {"authorization": "Bearer "},
    {"authorization": f"Basic {OPERATOR}"},
    {"authorization": OPERATOR},
    {"authorization": f"Bearer {OPERATOR}x"},
    {"authorization": f"Bearer {new_token()}"},
]


async def test_the_operators_api_is_for_the_operator(house: House) -> None:
    for (method, path), headers in product(API, WRONG):
        answer = await house.ask(method, path, headers=headers)
        assert (answer.status, answer.json["code"]) == (401, "invalid_api_key"), (method, path, headers)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_account_endpoints_are_for_keys(house: House) -> None:
    for path, headers in product(ACCOUNT, WRONG):
        answer = await house.ask("GET", path, headers=headers)
        assert answer.status == 401, (path, headers)
        error = answer.json["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")


async def test_an_orgs_key_sees_its_own_org_on_the_api_and_changes_nothing_there(house: House) -> None:
    own, other = await house.new_org(), await house.new_org()
    key = await house.new_key(own)
    page = await house.ask("GET", "/api/orgs", key=key)
    assert [org["id"] for org in page.json["data"]] == [str(own)]
    assert (await house.ask("GET", f"/api/orgs/{other}", key=key)).status == 404
    assert (await house.ask("GET", f"/api/credits/balance?organization_id={other}", key=key)).status == 404
    assert (await house.ask("GET", "/api/credits/balance", key=key)).json["organization_id"] == str(own)
    for method, path in (
        ("POST", "/api/orgs"),
        ("POST", f"/api/orgs/{own}/suspend"),
        ("POST", f"/api/orgs/{own}/keys"),
    ):
        refused = await house.ask(method, path, json={"name": "more"}, key=key)
        assert (refused.status, refused.json["code"]) == (403, "forbidden")
    assert (await house.ask("GET", "/v1/key", key=OPERATOR)).status == 401


async def test_the_scheme_is_read_in_any_case_and_the_key_in_its_own(house: House) -> None:
    key = await house.new_key(await house.new_org())
    for scheme in ("bearer", "BEARER"):
        assert (await house.ask("GET", "/v1/key", headers={"authorization": f"{scheme} {key}"})).status == 200
    assert (await house.ask("GET", "/v1/key", key=key.upper())).status == 401


async def test_two_authorization_headers_are_refused(house: House) -> None:
    host, port = house.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    header = f"authorization: Bearer {OPERATOR}\r\n"
    writer.write(f"GET /api/orgs HTTP/1.1\r\nhost: x\r\n{header}{header}connection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"Several Authorization headers" in answer


async def test_the_body_of_a_stranger_is_not_read(house: House) -> None:
    host, port = house.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /api/orgs HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.close()
    await writer.wait_closed()


async def test_an_expired_key_is_refused_with_the_reason(house: House, pool: object) -> None:
    org = await house.new_org()
    key = await house.new_key(org, expires_at="2100-01-01T00:00:00Z")
    await pool.execute("UPDATE api_key SET expires_at = now()")  # type: ignore[attr-defined]
    answer = await house.ask("GET", "/v1/key", key=key)
    assert (answer.status, answer.json["error"]["code"]) == (401, "invalid_api_key")
    assert "expired" in answer.json["error"]["message"]


async def test_an_outage_is_503_for_all_and_lets_nobody_in(house: House, outage: Outage) -> None:
    org = await house.new_org()
    key = await house.new_key(org)
    await outage.begin()
    for path in ("/v1/key", "/v1/credits", "/v1/generation?id=x"):
        answer = await house.ask("GET", path, key=key)
        assert (answer.status, answer.json["error"]["code"]) == (503, "ledger_unavailable")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    for path in ("/api/orgs", f"/api/orgs/{org}", f"/api/orgs/{org}/keys"):
        answer = await house.operate("GET", path)
        assert (answer.status, answer.json["code"]) == (503, "ledger_unavailable")
    assert (await house.operate("POST", "/api/orgs", {"name": "Acme"})).status == 503


async def test_a_client_that_asks_before_sending_is_told_once_the_key_is_known(house: House) -> None:
    host, port = house.url.removeprefix("http://").split(":")
    body = b'{"name":"Acme"}'
    for key, first in ((OPERATOR, b"HTTP/1.1 100 Continue\r\n"), ("nobody's", b"HTTP/1.1 401 Unauthorized\r\n")):
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /api/orgs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nexpect: 100-continue\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode())
        assert await reader.readline() == first
        if key == OPERATOR:
            assert await reader.readline() == b"\r\n"
            writer.write(body)
            assert await reader.readline() == b"HTTP/1.1 201 Created\r\n"
        writer.close()
        await writer.wait_closed()
