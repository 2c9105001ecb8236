"""Requests to /api made from its own OpenAPI document, good ones and bad ones, and what must hold of every answer.

A request that is made from a document names nothing that exists: what answers hand out is put in for the ids, so that
handlers are reached and not only their checks.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final
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
_LAST: Final = ("suspend", "resume", "close", "erase", "revoke", "rotate", "delete")
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
    "scope": ("org",),
    "scope_id": ("",),
    "period": ("day", "month"),
    "open_max": (None,),
    "quantity": (1, 3),
    "input_tokens": (1_000,),
    "cached_tokens": (0, 10),
    "cache_write_tokens": (0, 10),
    "output_tokens": (0, 1_000),
}
"""What handlers know, beside what the document allows."""
_EITHER: Final = (
    ({"amount", "reason"}, {"feature", "quantity"}),
    ({"amount"}, {"model", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens"}),
    ({"amount"}, {"model", "expected_input_tokens", "expected_output_tokens"}),
    ({"cursor"}, {"offset"}),
)
"""Of each pair one side is meant to be left out."""
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

    def know(self, name: str, id: str) -> None:
        if id not in self._kept and id not in self._ids[name]:
            self._ids[name].append(id)

    def run(self) -> None:
        """Asks everything the document has. Blocks."""
        operations = [result.ok() for result in self.schema.get_all_operations() if isinstance(result, Ok)]
        assert operations
        for operation in sorted(operations, key=lambda one: one.path.endswith(_LAST) or one.method == "delete"):
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                self._ask(operation, mode)

    def _ask(self, operation: Any, mode: GenerationMode) -> None:
        @seed(self._number)
        @settings(
            max_examples=self._examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), luck=st.integers(0, 2**32))
        def one(case: Any, luck: int) -> None:
            self._put_known(case, random.Random(luck))
            response = case.call(headers=self._headers, timeout=WITHIN_S)
            self.statuses[operation.label][response.status_code] += 1
            self._learn(operation, response)
            self._check_headers(operation, response)
            try:
                case.validate_response(response, headers=self._headers, excluded_checks=self._excluded())
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

    def _excluded(self) -> list[Any]:
        return [getattr(schemathesis.checks, name) for name in _NOT_ASKED]

    def _put_known(self, case: Any, luck: random.Random) -> None:
        good = case.meta.generation.mode.is_positive
        for name, value in list(case.path_parameters.items()):
            if good or _is_uuid(value):
                case.path_parameters[name] = self._known(name, value, luck)
        if not good:
            return
        for name, value in list(case.query.items()):
            case.query[name] = self._known(name, value, luck)
        self._name_org(case.query, "organization_id" in {one.name for one in case.operation.query}, luck)
        if isinstance(case.body, dict | list):
            case.body = self._with_known(case.body, luck)
        if isinstance(case.body, dict):
            self._name_org(case.body, "/{org_id}" not in case.operation.path, luck)

    def _name_org(self, members: dict[str, Any], allowed: bool, luck: random.Random) -> None:
        """Of an operator it is required, and others may leave it out: the document cannot say that."""
        if allowed and luck.randrange(100) < _KNOWN_PERCENT:
            members["organization_id"] = self._ids["org_id"][0]

    def _with_known(self, value: Any, luck: random.Random, name: str = "") -> Any:
        if isinstance(value, dict):
            told = {name: self._with_known(one, luck, name) for name, one in value.items()}
            for pair in _EITHER:
                if all(told.keys() & side for side in pair) and luck.randrange(100) < _KNOWN_PERCENT:
                    out = luck.choice(pair)
                    told = {name: one for name, one in told.items() if name not in out}
            return told
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
