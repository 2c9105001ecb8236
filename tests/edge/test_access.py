"""Every endpoint, asked as every role in its own organisation and in another's: the page of rights is what holds.

Requests are built from the types that the endpoints declare, so that a new endpoint is tried without a word here.
"""

import re
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec import inspect as types

from gateway.core.access import HOLDERS, Role
from gateway.edge.api.endpoint import Endpoint
from gateway.edge.api.rights_table import ROLES, rights_table
from gateway.edge.api.table import ENDPOINTS
from gateway.identity.tokens import TokenSettings
from tests.edge.conftest import OPERATOR, TOKENS, Answer, House
from tests.fakes.issuer import by_secret

OF_AN_ORG = {"org_id", "organization_id"}
"""What names the organisation that is meant, in a path, query or body."""
KINDS = {Role.MANAGER: "management", Role.APPLICATION: "inference", Role.SANDBOX: "sandbox"}
WORDS = ("x1", "X", "1", "1.5", "a-b", "UTC", "2100-01", "2100-01-01", "a@b.example", "x" * 40)


@pytest.fixture
def token_settings() -> TokenSettings:
    words = {role: role for role in ("member", "viewer", "billing", "org_admin", "operator")}
    return msgspec.structs.replace(TOKENS, users="claimed", roles=words)


def test_the_document_is_what_the_code_says() -> None:
    """`make docs` writes it anew."""
    document = Path(__file__).parents[2] / "docs" / "access.md"
    assert document.read_text("utf-8") == rights_table(ENDPOINTS)


def test_every_right_has_a_holder_and_the_operator_has_all() -> None:
    assert all(Role.OPERATOR in holders for holders in HOLDERS.values())
    assert set(ROLES) == set(Role)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
async def test_who_may_do_what_where(house: House, endpoint: Endpoint) -> None:
    own, other = await house.new_org("own"), await house.new_org("other")
    credentials = {role: await credential(house, role, own) for role in ROLES}
    for role in sorted(
        Role, key=lambda role: role is Role.OPERATOR
    ):  # who may do all, suspend for instance, comes last
        for org in (other, own):
            answer = await ask(house, endpoint, credentials[role], org)
            assert verdict(answer) == expected(endpoint, role, org == own), (role, org == own, answer.body)
    for nobody in ("", "x.y.z", by_secret("another secret of thirty-two bytes", org=own, roles=["operator"])):
        assert (await ask(house, endpoint, nobody, own)).status == 401


def expected(endpoint: Endpoint, role: Role, own: bool) -> str:
    if role not in HOLDERS[endpoint.needs]:
        return "forbidden"
    if names_an_org(endpoint) and not own and role is not Role.OPERATOR:
        return "not found"
    return "allowed"


def verdict(answer: Answer) -> str:
    """What the house said to being asked, whatever it then said to what was asked."""
    problem = answer.json if answer.headers.get("content-type") == "application/problem+json" else {}
    if (answer.status, problem.get("code")) == (403, "forbidden"):
        return "forbidden"
    if answer.status == 404 and problem["detail"].startswith("There is no organisation"):
        return "not found"
    assert answer.status not in {401, 403, 405, 429, 500}, answer.body
    return "allowed"


async def credential(house: House, role: Role, org: UUID) -> str:
    if role is Role.OPERATOR:
        return OPERATOR
    if role in KINDS:
        return await house.new_key(org, kind=KINDS[role])
    return by_secret(org=org, roles=[role])


async def test_a_tokens_operator_is_as_good_as_the_key(house: House) -> None:
    org = await house.new_org()
    token = by_secret(roles=["operator"])
    for endpoint in ENDPOINTS:
        assert verdict(await ask(house, endpoint, token, org)) == "allowed"


async def test_a_member_whom_only_a_token_knows_acts_for_nobody_else(house: House) -> None:
    org = await house.new_org(credits="10")
    anna = await house.new_user(org)
    one, another = (by_secret(org=org, sub=name, roles=["member"]) for name in ("cleo", "dora"))
    deduction = {"amount": 1, "reason": "x", "user_id": str(anna)}
    assert (await house.ask("POST", "/api/credits/deduct", key=one, json=deduction)).status == 403
    own = await house.ask("POST", "/api/credits/reservations", key=one, json={"amount": 1})
    theirs = await house.operate("POST", "/api/credits/reservations", {"amount": 1, "organization_id": str(org)})
    assert (own.status, theirs.status) == (201, 201)
    assert await reserved(house, one) == [own.json["id"]]
    assert await reserved(house, another) == []
    for made, who, status in ((theirs, one, 404), (own, another, 404), (own, one, 200)):
        path = f"/api/credits/reservations/{made.json['id']}/release"
        assert (await house.ask("POST", path, key=who)).status == status


async def reserved(house: House, credential: str) -> list[str]:
    answer = await house.ask("GET", "/api/credits/reservations", key=credential)
    return [one["id"] for one in answer.json["data"]]


# --- requests, from the types alone ---------------------------------------------------------------------------------


def names_an_org(endpoint: Endpoint) -> bool:
    return not OF_AN_ORG.isdisjoint({*endpoint.path_types, *fields_of(endpoint.query), *fields_of(endpoint.body)})


def fields_of(type: Any) -> dict[str, types.Field]:
    return {} if type is None else {field.encode_name: field for field in types.type_info(type).fields}  # type: ignore[attr-defined]


async def ask(house: House, endpoint: Endpoint, credential: str, org: UUID) -> Answer:
    def part(match: re.Match[str]) -> str:
        name = match[1]
        return str(org) if name in OF_AN_ORG else str(example(types.type_info(endpoint.path_types[name]), org))

    path = re.sub(r"\{(\w+)(?::[^}]*)?\}", part, endpoint.path)
    body = None if endpoint.body is None else example(types.type_info(endpoint.body), org)
    query = {} if endpoint.query is None else example(types.type_info(endpoint.query), org)
    return await house.ask(
        endpoint.method,
        path,
        key=credential or None,
        json=body,
        params={name: str(value) for name, value in query.items()},
    )


def example(kind: types.Type, org: UUID) -> Any:
    """A value that the type allows, with what is required and the organisation; ids are nobody's."""
    match kind:
        case types.Metadata():
            said = (kind.extra_json_schema or {}).get("examples")
            return said[0] if said else example(kind.type, org)
        case types.StructType():
            return {
                field.encode_name: str(org) if field.encode_name in OF_AN_ORG else example(field.type, org)
                for field in kind.fields
                if field.required or field.encode_name in OF_AN_ORG
            }
        case types.UnionType():
            return example(next(one for one in kind.types if not isinstance(one, types.NoneType)), org)
        case types.UUIDType():
            return str(uuid4())
        case types.StrType():
            return text(kind)
        case types.IntType():
            return max(kind.ge or 0, (kind.gt or 0) + 1 if kind.gt is not None else 0)
        case types.FloatType() | types.DecimalType():
            return 1
        case types.RawType() | types.AnyType():
            return {}
        case types.BoolType():
            return False
        case types.DateTimeType():
            return "2100-01-01T00:00:00Z"
        case types.DateType():
            return "2100-01-01"
        case types.EnumType():
            return next(iter(kind.cls)).value if issubclass(kind.cls, Enum) else None
        case types.LiteralType():
            return kind.values[0]
        case types.ListType() | types.VarTupleType():
            return [example(kind.item_type, org) for _ in range(kind.min_length or 0)]
        case types.DictType():
            return {}
        case _:
            raise AssertionError(f"no example is known for {kind}")


def text(kind: types.StrType) -> str:
    for word in WORDS:
        fits = (kind.min_length or 0) <= len(word) <= (kind.max_length or len(word))
        if fits and (kind.pattern is None or re.search(kind.pattern, word)):
            return word
    raise AssertionError(f"none of WORDS is of the form {kind.pattern}")
