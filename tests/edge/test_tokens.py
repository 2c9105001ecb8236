"""People's tokens on /api: what a good one opens, and every known way to make one that should open nothing."""

import asyncio
import base64
import hmac
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from joserfc.jwk import ECKey, RSAKey

from gateway.core.origin import Origin
from gateway.identity.tokens import TokenSettings
from gateway.identity.verification_keys import KeySet, VerificationKeys
from gateway.ops.clock import Clock
from gateway.upstream.document import fetch_document
from tests.edge.conftest import OPERATOR, Answer, House
from tests.fakes.issuer import ISSUER, LIFE_S, SECRET, Issuer, by_secret, claims
from tests.postgres.outage import Outage
from tests.road import Roads


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as issuer:
        yield issuer


@pytest.fixture
def mapping() -> dict[str, Any]:
    """What is different in the settings."""
    return {}


@pytest.fixture
def token_settings(issuer: Issuer, mapping: dict[str, Any]) -> TokenSettings:
    return issuer.settings(**mapping)


@pytest.fixture
async def token_keys(issuer: Issuer, token_settings: TokenSettings) -> AsyncIterator[VerificationKeys]:
    keys = KeySet(partial(fetch_document, issuer.url, timeout_s=5), clock=Clock(), settings=token_settings.key_set)
    yield keys
    await keys.stop()


@pytest.fixture
async def org(house: House) -> UUID:
    org = await house.new_org("Acme")
    await house.new_user(org, "anna", role="viewer")
    return org


async def ask(house: House, token: str, path: str = "/api/orgs", method: str = "GET", **options: Any) -> Answer:
    return await house.ask(method, path, key=token, **options)


async def refused(house: House, token: str, status: int = 401, code: str = "invalid_token") -> str:
    answer = await ask(house, token)
    assert (answer.status, answer.json["code"]) == (status, code), answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    detail = answer.json["detail"]
    assert isinstance(detail, str)
    assert token not in detail
    return detail


# --- good ones ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_person_acts_in_their_own_organisation(house: House, org: UUID, issuer: Issuer, algorithm: str) -> None:
    other = await house.new_org("other")
    token = issuer.token(algorithm=algorithm, org=org, roles=["org_admin"])
    assert [one["id"] for one in (await ask(house, token)).json["data"]] == [str(org)]
    assert (await ask(house, token, f"/api/orgs/{other}")).status == 404
    made = await ask(house, token, f"/api/orgs/{org}/keys", "POST", json={"name": "mine"})
    assert made.status == 201


@pytest.mark.parametrize(
    ("roles", "may"),
    [
        ("org_admin", True),
        ("viewer org_admin", True),
        (["viewer", "org_admin", "unheard of"], True),
        (["viewer"], False),
        (None, False),  # the role that she has here
    ],
)
async def test_roles_are_the_claims_words(house: House, org: UUID, issuer: Issuer, roles: Any, may: bool) -> None:
    made = await ask(house, issuer.token(org=org, roles=roles), f"/api/orgs/{org}/keys", "POST", json={"name": "mine"})
    assert made.status == (201 if may else 403)


async def test_the_audit_log_names_the_user(house: House, org: UUID, issuer: Issuer, pool: asyncpg.Pool) -> None:
    user_id = await house.new_user(org, "bea")
    for subject in ("bea", str(user_id)):
        token = issuer.token(org=org, sub=subject, roles=["org_admin"])
        await ask(house, token, f"/api/orgs/{org}/keys", "POST", json={"name": subject})
    actors = await pool.fetch("SELECT actor FROM audit_log WHERE action = 'key.created'")
    assert {row["actor"] for row in actors} == {f"user:{user_id}"}


async def test_an_audience_among_others_is_ours(house: House, org: UUID, issuer: Issuer) -> None:
    assert (await ask(house, issuer.token(org=org, aud=["else", "tollgate"]))).status == 200


async def test_clocks_may_be_off_a_little(house: House, org: UUID, issuer: Issuer) -> None:
    now = int(time.time())
    assert (await ask(house, issuer.token(org=org, exp=now - 10))).status == 200
    assert (await ask(house, issuer.token(org=org, nbf=now + 10))).status == 200


async def test_suspension_counts_at_once(house: House, org: UUID, issuer: Issuer) -> None:
    token = issuer.token(org=org)
    user_id = (await house.api.users.named(org, "anna")).user_id
    by = Origin(actor="operator")
    await house.api.users.suspend(org, user_id, by=by)
    await refused(house, token, 403, "user_suspended")
    await house.api.users.resume(org, user_id, by=by)
    assert (await ask(house, token)).status == 200
    await house.operate("POST", f"/api/orgs/{org}/suspend")
    await refused(house, token, 403, "org_suspended")


async def test_tokens_are_not_for_inference_nor_the_account_endpoints(house: House, org: UUID, issuer: Issuer) -> None:
    assert (await ask(house, issuer.token(org=org), "/v1/key")).status == 401


# --- forged, stale and misdirected ones -----------------------------------------------------------------------------


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
async def test_an_unsigned_token_is_nobodys(house: House, org: UUID, issuer: Issuer, name: str) -> None:
    whole = part(claims(org=org, roles=["org_admin"]))
    signature = issuer.token(org=org).rpartition(".")[2]
    for end in ("", signature):
        await refused(house, f"{part({'alg': name, 'typ': 'JWT'})}.{whole}.{end}")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_public_key_is_no_secret(house: House, org: UUID, issuer: Issuer, algorithm: str) -> None:
    """The classical confusion: everybody knows the public key, and signs with it as if it were shared."""
    for public in (
        issuer.rsa.as_pem(private=False),
        issuer.rsa.as_pem(private=False).strip(),
        issuer.rsa.as_der(private=False),
        msgspec.json.encode(issuer.rsa.as_dict(private=False)),
    ):
        signed = f"{part({'alg': algorithm, 'kid': issuer.rsa.kid})}.{part(claims(org=org, roles=['org_admin']))}"
        await refused(house, f"{signed}.{part(hmac.digest(public, signed.encode(), algorithm.replace('HS', 'sha')))}")


async def test_a_key_that_the_token_brings_along_is_not_used(house: House, org: UUID, issuer: Issuer) -> None:
    own = RSAKey.generate_key(2048, parameters={"kid": "rsa-1"})
    header = {"jwk": own.as_dict(private=False), "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x"}
    await refused(house, issuer.token(key=own, org=org, header=header))
    assert issuer.fetches == 1


async def test_a_key_of_another_type_or_hand_is_refused(house: House, org: UUID, issuer: Issuer) -> None:
    await refused(house, issuer.token(key=RSAKey.generate_key(2048, parameters={"kid": "rsa-1"}), org=org))
    await refused(
        house, issuer.token(key=ECKey.generate_key("P-256", parameters={"kid": "ec-1"}), algorithm="ES256", org=org)
    )
    await refused(house, issuer.token(key=issuer.ec, algorithm="ES256", org=org, header={"kid": "rsa-1"}))
    await refused(house, by_secret(org=org))


async def test_every_changed_character_is_noticed(house: House, org: UUID, issuer: Issuer) -> None:
    head, payload, signature = issuer.token(org=org, roles=["viewer"]).split(".")
    forged = part(claims(org=org, roles=["org_admin"]))
    await refused(house, f"{head}.{forged}.{signature}")
    await refused(house, f"{part({'alg': 'ES256', 'kid': 'rsa-1'})}.{payload}.{signature}")
    await refused(house, f"{head}.{payload}.{signature[:-8]}AAAAAAAA")


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": [1]},
        {"nbf": 2**40},
        {"nbf": "x"},
        {"iat": 2**40},
        {"aud": "else"},
        {"aud": ["else"]},
        {"aud": None},
        {"aud": {"tollgate": 1}},
        {"iss": "https://evil.example"},
        {"iss": ISSUER + "/"},
        {"iss": [ISSUER]},
        {"iss": None},
        {"sub": None},
        {"sub": 1},
        {"sub": ""},
        {"sub": "a" * 201},
        {"sub": "anna\n"},
        {"sub": "nobody"},
        {"roles": 1},
        {"roles": [1]},
        {"roles": {"org_admin": True}},
        {"roles": ["org_admin"] * 201},
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(house: House, org: UUID, issuer: Issuer, changes: Any) -> None:
    await refused(house, issuer.token(**{"org": org, "roles": ["org_admin"], **changes}))


@pytest.mark.parametrize("named", [None, "", "Acme", "*", str(UUID(int=0)), str(UUID(int=7))])
async def test_a_forged_organisation_is_refused(house: House, org: UUID, issuer: Issuer, named: str | None) -> None:
    await refused(house, issuer.token(org=named, roles=["org_admin"]))


@pytest.mark.parametrize(
    ("kind", "status"),
    [("JWT", 200), ("jwt", 200), ("at+jwt", 200), ("application/at+jwt", 200), ("logout+jwt", 401), ("dpop+jwt", 401)],
)
async def test_a_token_of_the_same_issuer_for_something_else_is_refused(
    house: House, org: UUID, issuer: Issuer, kind: str, status: int
) -> None:
    assert (await ask(house, issuer.token(org=org, header={"typ": kind}))).status == status


async def test_what_a_token_says_must_be_understood_is_not(house: House, org: UUID, issuer: Issuer) -> None:
    await refused(house, issuer.token(org=org, header={"crit": ["b64"], "b64": True}))


async def test_a_user_of_one_organisation_is_nobody_in_another(house: House, org: UUID, issuer: Issuer) -> None:
    other = await house.new_org("other")
    await refused(house, issuer.token(org=other, sub="anna", roles=["org_admin"]))
    anna = (await house.api.users.named(org, "anna")).user_id
    await refused(house, issuer.token(org=other, sub=str(anna), roles=["org_admin"]))


@pytest.mark.parametrize(
    "roles", ["operator", ["operator"], ["viewer", "operator"], ["manager"], ["application"], [], ["OPERATOR"]]
)
async def test_no_word_of_a_claim_makes_an_operator_unasked(
    house: House, org: UUID, issuer: Issuer, roles: Any
) -> None:
    token = issuer.token(org=org, roles=roles)
    answer = await ask(house, token, "/api/orgs", "POST", json={"name": "mine"})
    assert (answer.status, answer.json["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "token",
    [
        "eyJ.e30.",
        "eyJ.eyJ.eyJ",
        "eyJhbGciOiJSUzI1NiJ9..",
        "eyJhbGciOiJSUzI1NiJ9.e30.e30.e30.e30",
        f"{part({'alg': 'RS256', 'kid': 1})}.e30.AA",
        f"{part({'alg': ['RS256']})}.e30.AA",
        f"{part({'alg': 'RS256', 'kid': 'rsa-1'})}.!!!.AA",
        f"{part({'alg': 'RS256', 'kid': 'rsa-1', 'crit': ['b64'], 'b64': False})}.e30.AA",
        f"{part({'alg': 'RS256', 'kid': 'rsa-1', 'typ': 'logout+jwt'})}.e30.AA",
        f"{part(b'[' * 5000)}.e30.AA",
    ],
)
async def test_what_is_malformed_is_refused(house: House, token: str) -> None:
    answer = await ask(house, token)
    assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")


@pytest.mark.parametrize("mapping", [{"token_bytes_max": 1000}])
async def test_a_huge_token_is_not_read(house: House, org: UUID, issuer: Issuer) -> None:
    assert (await ask(house, issuer.token(org=org))).status == 200
    assert "longer" in await refused(house, issuer.token(org=org, filling="x" * 1000, header={"kid": "unknown"}))
    assert issuer.fetches == 1


@pytest.mark.parametrize("mapping", [{"token_lifetime_max_s": 900}, {}])
async def test_a_token_that_lives_too_long_is_refused(
    house: House, org: UUID, issuer: Issuer, token_settings: TokenSettings
) -> None:
    now, most_s = int(time.time()), token_settings.token_lifetime_max_s
    assert most_s in {900, 86_400}
    for iat, life_s in ((now, most_s), (now - 300, most_s), (None, most_s), (None, most_s + token_settings.skew_s)):
        token = issuer.token(org=org, iat=iat, exp=(iat or now) + life_s)
        assert (await ask(house, token)).status == 200, (iat, life_s)
    for iat, exp in (
        (now, now + most_s + 1),
        (now - 300, now + most_s),
        (1, now + 60),
        (None, now + most_s + token_settings.skew_s + 60),
        (now, 1e300),
        (None, 4_000_000_000),
    ):
        assert f"{most_s} seconds" in await refused(house, issuer.token(org=org, iat=iat, exp=exp)), (iat, exp)


async def test_an_expired_token_is_told_so(house: House, org: UUID, issuer: Issuer) -> None:
    assert "expired" in await refused(house, issuer.token(org=org, exp=int(time.time()) - LIFE_S))


async def test_a_flood_of_unknown_keys_does_not_reach_the_issuer(house: House, org: UUID, issuer: Issuer) -> None:
    keys = [RSAKey.generate_key(2048, parameters={"kid": "x"})] * 100
    floods = (refused(house, issuer.token(key=key, header={"kid": f"x{n}"}, org=org)) for n, key in enumerate(keys))
    await asyncio.gather(*floods)
    assert issuer.fetches == 1


async def test_an_issuer_that_was_never_reached_is_503(house: House, org: UUID, issuer: Issuer) -> None:
    issuer.status = 500
    answer = await ask(house, issuer.token(org=org))
    assert (answer.status, answer.json["code"]) == (503, "issuer_unavailable")
    assert answer.headers["retry-after"] == "5"
    assert (await house.ask("GET", "/api/orgs", key=OPERATOR)).status == 200


async def test_a_bad_token_costs_no_work_of_the_database(
    house: House, org: UUID, issuer: Issuer, outage: Outage
) -> None:
    await outage.begin()
    await refused(house, issuer.token(org=org, aud="else"))
    answer = await ask(house, issuer.token(org=org))
    assert (answer.status, answer.json["code"]) == (503, "ledger_unavailable")
    await outage.end()


# --- as the configuration maps them ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mapping", [{"roles": {"admins": "org_admin", "sre": "operator"}, "roles_claim": "/realm_access/roles"}]
)
async def test_words_mean_what_the_configuration_says(house: House, org: UUID, issuer: Issuer) -> None:
    def words(*words: str) -> dict[str, Any]:
        return {"realm_access": {"roles": list(words)}, "roles": ["org_admin"]}

    path = f"/api/orgs/{org}/keys"
    assert (await ask(house, issuer.token(org=org, **words("admins")), path, "POST", json={"name": "x"})).status == 201
    assert (await ask(house, issuer.token(org=org, **words("org_admin")), path)).status == 403
    operator = issuer.token(sub="sam", **words("sre", "admins"))
    assert (await ask(house, operator, "/api/orgs", "POST", json={"name": "new"})).status == 201
    assert (await ask(house, operator, path)).status == 200


@pytest.mark.parametrize(
    "mapping", [{"users": "claimed", "org_claim": "https://example.org/org", "user_claim": "email"}]
)
async def test_claims_alone_may_suffice(house: House, org: UUID, issuer: Issuer, pool: asyncpg.Pool) -> None:
    claimed: dict[str, Any] = {"https://example.org/org": str(org), "email": "cleo@example.org"}
    token = issuer.token(**claimed, roles=["org_admin"])
    assert (await ask(house, token, f"/api/orgs/{org}/keys", "POST", json={"name": "x"})).status == 201
    assert await pool.fetchval("SELECT actor FROM audit_log WHERE action = 'key.created'") == "user:cleo@example.org"
    await refused(house, issuer.token(**claimed), 403, "forbidden")
    await refused(house, issuer.token(**{**claimed, "https://example.org/org": str(uuid4())}, roles=["org_admin"]))


def test_a_secret_is_in_no_text() -> None:
    assert "hush" not in repr(TokenSettings(secret="hush"))


@pytest.mark.parametrize("where", ["address", "file", "secret"])
async def test_a_whole_gateway_takes_the_tokens_of_its_settings(
    roads: Roads, issuer: Issuer, tmp_path: Path, where: str
) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(issuer.keys)
    settings = {
        "address": issuer.settings(users="claimed"),
        "file": issuer.settings(users="claimed", jwks=str(file)),
        "secret": issuer.settings(users="claimed", algorithms=("HS256",), jwks="", secret=SECRET),
    }[where]
    road = await roads.open(tokens=settings, credits="0")
    token = by_secret if where == "secret" else issuer.token
    for key, status in (
        (token(org=road.org.org_id, roles=["viewer"]), 200),
        (token(org=road.org.org_id, aud="else"), 401),
    ):
        headers = {"authorization": f"Bearer {key}"}
        async with road.session.get(f"{road.gateway.url}/api/orgs", headers=headers) as answer:
            assert answer.status == status
