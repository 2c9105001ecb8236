"""Requests to /api made from its own OpenAPI document, good ones and bad ones, and what must hold of every answer.

A request that is made from a document names nothing that exists: what answers hand out is put in for the ids, so that
handlers are reached and not only their checks.
"""

import copy
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Set
from typing import Any, Final, NamedTuple
from uuid import UUID

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok

WITHIN_S: Final = 30.0
_LAST: Final = ("suspend", "resume", "close", "erase", "revoke", "rotate", "delete", "/end")
"""What these end, others ask for: they come last."""
_OTHER_NAMES: Final = {
    "organization_id": "org_id",
    "from_account_id": "account_id",
    "to_account_id": "account_id",
    "user": "user_id",
    "key": "key_id",
    "object": "user_id",
}
_IDS_OF: Final = {
    "/api/credits/add": "grant_id",
    "/api/credits/deduct": "charge_id",
    "/api/credits/usage": "charge_id",
    "/api/credits/reservations": "reservation_id",
    "/api/credits/jobs": "job_id",
}
"""What the `id` in an answer is; elsewhere it is the noun's."""
_WORDS: Final[Mapping[str, tuple[Any, ...]]] = {
    "model": ("gpt-4o-mini", "gpt-5", "gpt-4o-mini", "*"),
    "provider": ("openai", "anthropic"),
    "plan": ("growth", "pro", "enterprise", None),
    "plan_id": ("growth", "pro"),
    "feature": ("simple_ai_insight", "ai_generated_report"),
    "reason": ("MANUAL_ADJUSTMENT", "AI_CHAT"),
    "usage_type": ("MODEL_CALL",),
    "amount": ("0.000001", "2.5", 1, 0.25, "1000"),
    "max": ("0", "10", 3.5),
    "spent": ("0", 0.1),
    "expires_at": ("2099-01-01T00:00:00Z", "2027-06-01T12:00:00+02:00"),
    "effective_from": ("2098-01-01T00:00:00Z", None),
    "effective_until": ("2099-01-01T00:00:00Z", None),
    "at": ("2099-01-01T00:00:00Z",),
    "from": ("2026-01-01T00:00:00Z", "2026-06-01"),
    "to": ("2099-01-01T00:00:00Z", "2026-07-01"),
    "time_zone": ("UTC", "Europe/Berlin", "Pacific/Auckland"),
    "ip_allow": (None, ["127.0.0.0/8"], ["10.0.0.0/8", "::1"]),
    "email": ("anna@example.com", None),
    "set": ("chatsparty",),
    "open_max": (1_000, 100_000),
    "quantity": (1, 3),
    "input_tokens": (1_000,),
    "cached_tokens": (0, 10),
    "cache_write_tokens": (0, 10),
    "output_tokens": (0, 1_000),
}
"""What handlers know, beside what the document allows."""
_DONE_BY: Final = {
    **{word: f"/api/credits/{word}" for word in ("add", "deduct", "usage", "validate", "check", "void")},
    "refund": "/api/credits/refunds",
    "transfer": "/api/credits/transfers",
    "reserve": "/api/credits/reservations",
    "extend": "/api/credits/reservations/{reservation_id}/extend",
    "settle": "/api/credits/reservations/{reservation_id}/settle",
}
"""What an item of a batch asks for: where a body that it takes was sent before."""
_KNOWN_PERCENT: Final = 85
_NOT_ASKED: Final = (
    # What is right by the schema may still be refused, for want of credits or of a right; that is tested elsewhere.
    "positive_data_acceptance",
    # A document shows no state.
    "use_after_free",
    "ensure_resource_availability",
)

_CONFIG: Final = {"generation": {"with-security-parameters": False}}
"""Strangers are refused at the door, whatever they ask for; every request here has a credential."""

load_all_checks()


class _Way(NamedTuple):
    title: str
    operation: Any
    fixed: Set[str] = frozenset()
    """Fields that must stay as they are, or it would be another way."""


class Fuzz:
    """One credential's run. The same seed asks the same, but for the ids, which the gateway makes."""

    def __init__(self, url: str, credential: str, *, examples: int, number: int, kept: frozenset[str]) -> None:
        """`kept`: ids that are never asked for, because the credential ends with them."""
        self.schema = schemathesis.openapi.from_url(
            f"{url}/api/openapi.json", config=SchemathesisConfig.from_dict(_CONFIG)
        )
        self.statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.troubles: dict[str, str] = {}
        """By what is wrong, the first request that shows it."""
        self._headers = {"authorization": f"Bearer {credential}"}
        self._examples = examples
        self._number = number
        self._kept = kept
        self._ids: defaultdict[str, list[str]] = defaultdict(list)
        self._url = url
        self._taken: dict[str, Any] = {}
        """By path, the last body that was taken there."""

    def know(self, name: str, id: str) -> None:
        if id not in self._kept and id not in self._ids[name]:
            self._ids[name].append(id)

    def run(self) -> None:
        """Asks everything the document has. Blocks."""
        operations = [result.ok() for result in self.schema.get_all_operations() if isinstance(result, Ok)]
        assert operations
        for operation in sorted(operations, key=lambda one: one.path.endswith(_LAST) or one.method == "delete"):
            ways = list(self._ways(operation)) or [_Way("", operation)]
            for way in ways:
                self._ask(way, GenerationMode.POSITIVE, examples=-(-self._examples // len(ways)))
            self._ask(_Way("", operation), GenerationMode.NEGATIVE, examples=self._examples)

    def _ways(self, operation: Any) -> Iterator["_Way"]:
        """Where a body says a thing in one of several ways: the operation with each of them alone."""
        name = _body_of(operation)
        for one in self.schema.raw_schema["components"]["schemas"].get(name, {}).get("oneOf", ()):
            document = copy.deepcopy(self.schema.raw_schema)
            document["components"]["schemas"][name]["oneOf"] = [one]
            alone = schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict(_CONFIG))
            alone.config.update(base_url=self._url)
            fixed = {field for field, said in one["properties"].items() if not said or said.keys() & {"const", "type"}}
            yield _Way(f" ({one['title']})", alone[operation.path][operation.method], fixed - {*one["required"]})

    def _ask(self, way: "_Way", mode: GenerationMode, *, examples: int) -> None:
        operation = way.operation

        @seed(self._number)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), luck=st.integers(0, 2**32))
        def one(case: Any, luck: int) -> None:
            self._put_known(case, random.Random(luck), way.fixed)
            response = case.call(headers=self._headers, timeout=WITHIN_S)
            self.statuses[operation.label + way.title][response.status_code] += 1
            self._learn(operation, response)
            if response.status_code < 300 and isinstance(case.body, dict):
                self._taken[operation.path] = case.body
            self._check_headers(operation, response)
            try:
                case.validate_response(response, headers=self._headers, excluded_checks=self._excluded(operation))
            except FailureGroup as group:
                for failure in group.exceptions:
                    what = f"{operation.label} [{mode}] {type(failure).__name__}: {failure.title}"
                    self.troubles.setdefault(what, f"{failure}\n{case.as_curl_command()}\n{response.text[:1000]}")

        try:
            one()
        except Unsatisfiable:
            assert mode.is_negative, operation.label  # nothing is asked for, so nothing can be wrong

    def _check_headers(self, operation: Any, response: Any) -> None:
        """What the document says nothing of is not sent."""
        told = operation.definition.raw["responses"].get(str(response.status_code), {}).get("headers", {})
        for name in ("ETag", "Idempotent-Replayed"):
            if name.lower() in response.headers and name not in told:
                self.troubles.setdefault(f"{operation.label} {name}", f"{response.status_code} has it unsaid")

    def _excluded(self, operation: Any) -> list[Any]:
        names = list(_NOT_ASKED)
        if operation.path.endswith("/batch"):
            names.append("negative_data_rejection")  # what is wrong with an item is that item's answer
        return [getattr(schemathesis.checks, name) for name in names]

    def _put_known(self, case: Any, luck: random.Random, fixed: Set[str]) -> None:
        good = case.meta.generation.mode.is_positive
        for name, value in list(case.path_parameters.items()):
            if good or _is_uuid(value):
                case.path_parameters[name] = self._known(name, value, luck)
        if not good:
            return
        for name, value in list(case.query.items()):
            case.query[name] = self._known(name, value, luck)
        if {"cursor", "offset"} <= case.query.keys() and luck.randrange(100) < _KNOWN_PERCENT:
            del case.query[luck.choice(("cursor", "offset"))]
        self._name_org(case.query, "organization_id" in {one.name for one in case.operation.query}, luck)
        if isinstance(case.body, dict):
            body: dict[str, Any] = self._with_known(case.body, luck)
            body |= {name: case.body[name] for name in fixed if name in case.body}
            for item in body["items"] if case.operation.path.endswith("/batch") else ():
                self._fill(item, luck)
            known = self.schema.raw_schema["components"]["schemas"].get(_body_of(case.operation), {})
            self._name_org(body, "organization_id" in known.get("properties", {}), luck)
            case.body = body

    def _fill(self, item: dict[str, Any], luck: random.Random) -> None:
        """Of what a batch's items take the document says no more than that they are objects."""
        taken: dict[str, Any] | None = self._taken.get(_DONE_BY.get(item["operation"], ""))
        if taken is not None and luck.randrange(100) < _KNOWN_PERCENT:
            item["body"] = self._with_known(taken, luck)
        if item["operation"] in ("extend", "settle", "release") and self._ids["reservation_id"]:
            named = {"reservation_id": luck.choice(self._ids["reservation_id"])}
            item["body"] = named | (item["body"] if taken else {"organization_id": self._ids["org_id"][0]})

    def _name_org(self, members: dict[str, Any], allowed: bool, luck: random.Random) -> None:
        """Of an operator it is required, and others may leave it out: the document cannot say that."""
        if allowed and luck.randrange(100) < _KNOWN_PERCENT:
            members["organization_id"] = self._ids["org_id"][0]

    def _with_known(self, value: Any, luck: random.Random, name: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self._with_known(one, luck, name) for name, one in value.items()}
        if isinstance(value, list) and name not in _WORDS:
            return [self._with_known(one, luck, name) for one in value]
        return self._known(name, value, luck)

    def _known(self, name: str, otherwise: Any, luck: random.Random) -> Any:
        name = _OTHER_NAMES.get(name, name)
        choices = self._ids[name][:1] if name == "org_id" else self._ids.get(name) or _WORDS.get(name)
        return luck.choice(choices) if choices and luck.randrange(100) < _KNOWN_PERCENT else otherwise

    def _learn(self, operation: Any, response: Any) -> None:
        if not response.content or "application/json" not in response.headers.get("content-type", [""])[0]:
            return
        noun = operation.definition.raw["tags"][0].removesuffix("s")
        for name, value in _members(response.json()):
            if _is_uuid(value):
                of = _IDS_OF.get(operation.path, f"{noun}_id")
                self.know(of if name == "id" else _OTHER_NAMES.get(name, name), value)


def _body_of(operation: Any) -> str:
    """The name of the body's type; empty where there is none."""
    content = operation.definition.raw.get("requestBody", {}).get("content", {}).get("application/json", {})
    return str(content.get("schema", {}).get("$ref", "")).rpartition("/")[2]


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _members(one)


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False
