"""What is changed through one gateway's /api holds in every other within a second, whatever kind of change it is.

Three ways lead there: the database's announcement, polling where nobody hears it, and forgetting everything when it can
be heard again. What a call asks the database itself needs none of them. No time is waited for by a clock of the test:
callers of the other gateway ask again and again, and what counts is when the last one began that met the old state.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from gateway.app import Gateway
from gateway.identity import key_ring
from gateway.identity.key_ring import KeyRingSettings
from gateway.pricing import watch
from gateway.pricing.watch import WatchSettings
from gateway.replay.server import ReplayServer
from gateway.settings import load_settings
from tests.e2e.running import RunningGateway, running_gateway
from tests.fakes.tcp_proxy import TcpProxy, tcp_proxy

WITHIN_S: Final = 1.0
"""The promise."""
NET_S: Final = 1.0
"""How often a gateway polls in the test of polling, and how long it believes a key there; 5 and 30 otherwise."""
NEVER_S: Final = 3600.0
GIVE_UP_S: Final = 20.0
"""For one change: far more than it takes."""
MODEL: Final = "gpt-4o-mini"
OUTPUT_TOKENS: Final = 1_000


@dataclass(frozen=True)
class Whose:
    """An organisation of one case's own, with a user, and a key of that user's."""

    org: str
    user: str
    key: str
    token: str


@dataclass(frozen=True)
class Seen:
    """What a call was answered, and what it cost."""

    status: int
    charged: Decimal


Step = Callable[[RunningGateway, Whose], Awaitable[Any]]
Shows = Callable[[Seen, Seen], bool]
"""Whether the second is the new state, where the first was the old one."""


@dataclass(frozen=True)
class Kind:
    name: str
    change: Step
    shows: Shows
    before: Step | None = None
    credits: str = "1000"
    model: str = MODEL
    asked: bool = False
    """Each call asks the database for it."""


def asks(method: str, path: str, **body: Any) -> Step:
    """A request to /api; `{org}`, `{user}` and `{key}` are the case's own, in the path and in texts of the body."""

    async def step(gateway: RunningGateway, whose: Whose) -> None:
        own = {"org": whose.org, "user": whose.user, "key": whose.key}
        json = {name: value.format(**own) if isinstance(value, str) else value for name, value in body.items()}
        headers = {"authorization": f"Bearer {gateway.operator_key}"}
        url = f"{gateway.url}/api{path.format(**own)}"
        async with gateway.session.request(method, url, json=json or None, headers=headers) as response:
            assert response.ok, f"{method} {url}: {response.status} {await response.text()}"

    return step


def answers(status: int) -> Shows:
    return lambda _, now: now.status == status


def costs(times: int) -> Shows:
    """Within a hundredth: sums are rounded up once."""
    return lambda before, now: abs(now.charged / before.charged - times) < Decimal("0.01")


def _budget(scope: str, scope_id: str = "") -> Step:
    return asks("PUT", "/orgs/{org}/budgets", scope=scope, scope_id=scope_id, period="day", max="0.000001")


_GIVES: Final[dict[str, Any]] = {"organization_id": "{org}", "transaction_type": "PURCHASE", "reason": "X"}

KINDS: Final = (
    Kind("a key is revoked", asks("DELETE", "/orgs/{org}/keys/{key}"), answers(401)),
    Kind("a key is rotated", asks("POST", "/orgs/{org}/keys/{key}/rotate", overlap_seconds=0), answers(401)),
    Kind("a key's models change", asks("PATCH", "/orgs/{org}/keys/{key}", models=["gpt-5"]), answers(404)),
    Kind("a key's networks change", asks("PATCH", "/orgs/{org}/keys/{key}", ip_allow=["192.0.2.0/24"]), answers(403)),
    Kind("a key's limit", _budget("key", "{key}"), answers(402), asked=True),
    Kind("a user is suspended", asks("POST", "/orgs/{org}/users/{user}/suspend"), answers(403)),
    Kind("an organisation is suspended", asks("POST", "/orgs/{org}/suspend"), answers(403), asked=True),
    Kind(
        "an organisation is resumed",
        asks("POST", "/orgs/{org}/resume"),
        answers(200),
        before=asks("POST", "/orgs/{org}/suspend"),
    ),
    Kind("an account is suspended", asks("POST", "/orgs/{org}/accounts/{org}/suspend"), answers(402), asked=True),
    Kind(
        "a policy",
        asks("PUT", "/orgs/{org}/policy", payment_order="allocation_only", time_zone="UTC"),
        answers(402),
    ),
    Kind("a budget", _budget("org"), answers(402), asked=True),
    Kind("a feature's budget", _budget("feature", "report"), answers(402), asked=True),
    Kind("credits", asks("POST", "/credits/add", amount="1000", **_GIVES), answers(200), credits="0", asked=True),
    Kind(
        "a price",
        asks("POST", "/credits/pricing", provider="openai", model="gpt-4o", per_request="77"),
        lambda _, now: now.charged >= 77,
        model="gpt-4o",
    ),
    Kind("an organisation's mark-up", asks("PUT", "/credits/markups/orgs/{org}", basis_points=10_000), costs(2)),
    Kind(
        "a plan's mark-up",
        asks("PUT", "/credits/markups/plans/growth", basis_points=20_000),
        costs(3),
        before=asks("POST", "/credits/initialize", organization_id="{org}", plan="growth"),
    ),
    Kind(
        "a plan",
        asks("PUT", "/credits/tier", organization_id="{org}", plan="pro"),
        costs(4),
        before=asks("PUT", "/credits/markups/plans/pro", basis_points=30_000),
    ),
    Kind("the mark-up of all", asks("PUT", "/credits/markups/all", basis_points=40_000), costs(5)),
)
"""The last one changes what those cost that have no mark-up of their own, so it comes last."""


class Case:
    """One kind of change, and callers of the other gateway who meet it."""

    def __init__(self, kind: Kind, first: RunningGateway, second_url: str, whose: Whose) -> None:
        self.kind = kind
        self._first = first
        self._second_url = second_url
        self._whose = whose
        self._old: Seen | None = None
        self.changed_at_s = 0.0

    async def see(self) -> Seen:
        headers = {
            "authorization": f"Bearer {self._whose.token}",
            "x-tollgate-feature": "report",
            "x-replay-output-tokens": str(OUTPUT_TOKENS),
        }
        body = {"model": self.kind.model, "messages": [{"role": "user", "content": "hi"}]}
        url = f"{self._second_url}/v1/chat/completions"
        async with self._first.session.post(url, json=body, headers=headers) as response:
            await response.read()
        return Seen(response.status, Decimal(response.headers.get("x-tollgate-credits-charged", 0)))

    async def warm(self) -> None:
        """The other gateway has met its key, and knows what it knew before the change."""
        await self.see()
        self._old = old = await self.see()
        assert not self._shows(old), (self.kind.name, old)

    async def change(self) -> None:
        await self.kind.change(self._first, self._whose)
        self.changed_at_s = time.monotonic()

    async def shows_now(self) -> bool:
        return self._shows(await self.see())

    async def took_s(self, since_s: float | None = None) -> float:
        """From the change to the beginning of the last call that met the old state; below zero: none did."""
        since_s = self.changed_at_s if since_s is None else since_s
        last_old_s = -1.0
        while last_old_s < GIVE_UP_S:
            began_s = time.monotonic() - since_s
            seen = await self.see()
            if self._shows(seen):
                return last_old_s
            last_old_s = began_s
        raise AssertionError(f"{self.kind.name} does not show: {self._old}, then {seen}")

    def _shows(self, seen: Seen) -> bool:
        assert self._old is not None
        return self.kind.shows(self._old, seen)


async def case_of(kind: Kind, first: RunningGateway, second_url: str) -> Case:
    org = await first.create_org(kind.name)
    if kind.credits != "0":
        await first.add_credits(org, kind.credits)
    user = (await first.api("POST", f"/orgs/{org}/users", json={"external_id": "anna", "name": "Anna"}))["id"]
    key = await first.api("POST", f"/orgs/{org}/keys", json={"name": "app", "user_id": user})
    whose = Whose(org, user, key["id"], key["key"])
    if kind.before is not None:
        await kind.before(first, whose)
    return Case(kind, first, second_url, whose)


@pytest.fixture
async def first(dsn: str, replay: ReplayServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """The gateway whose /api is asked."""
    async with running_gateway(dsn=dsn, upstream_url=replay.base_url, data_dir=tmp_path) as gateway:
        yield gateway


async def test_every_change_is_heard_by_another_process_within_a_second(
    dsn: str, replay: ReplayServer, first: RunningGateway, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    took_s: dict[str, float] = {}
    async with running_gateway(dsn=dsn, upstream_url=replay.base_url, data_dir=tmp_path / "second") as second:
        for kind in KINDS:
            case = await case_of(kind, first, second.url)
            await case.warm()
            await case.change()
            took_s[kind.name] = await case.took_s()
    assert {name: s for name, s in took_s.items() if s >= WITHIN_S} == {}


# --- without announcements --------------------------------------------------------------------------------------------


@pytest.fixture
async def line(dsn: str) -> AsyncIterator[TcpProxy]:
    """The second gateway's way to the database: the connections that listen can be broken by themselves."""
    folder = unquote(parse_qs(urlsplit(dsn).query)["host"][0])
    async with tcp_proxy(unix_path=f"{folder}/.s.PGSQL.5432", mark=b"LISTEN") as line:
        yield line


@asynccontextmanager
async def second_gateway(
    dsn: str, line: TcpProxy, replay: ReplayServer, monkeypatch: pytest.MonkeyPatch, *, net_s: float
) -> AsyncIterator[Gateway]:
    """One in this process, which polls every `net_s` and hears of changes until the line is broken."""
    monkeypatch.setattr(key_ring, "KeyRingSettings", lambda: KeyRingSettings(ttl_s=net_s, reconnect_s=0.05))
    monkeypatch.setattr(watch, "WatchSettings", lambda: WatchSettings(poll_s=net_s, reconnect_s=0.05))
    parts = urlsplit(dsn)
    address = f"postgresql://{parts.username}@127.0.0.1:{line.port}{parts.path}?sslmode=disable"
    settings = load_settings(None, {"OPENAI_API_KEY": "sk-replay", "OPENAI_BASE_URL": replay.base_url}, port=0)
    gateway = await Gateway.start(settings, dsn=address, operator_key="operator", sole_owner=False)
    try:
        async with asyncio.timeout(GIVE_UP_S):
            await gateway.stored_prices.listening()
        yield gateway
    finally:
        line.mend()
        await gateway.stop()


async def deaf_cases(first: RunningGateway, second: Gateway, line: TcpProxy) -> list[Case]:
    """Everything was changed while the second gateway could not hear of it."""
    cases = [await case_of(kind, first, second.url) for kind in KINDS]
    line.refuse_marked()
    for case in cases:
        await case.warm()
    for case in cases:
        await case.change()
    assert line.marked == set()
    return cases


async def test_polling_finds_every_change_that_nobody_heard_of(
    dsn: str, replay: ReplayServer, first: RunningGateway, line: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with second_gateway(dsn, line, replay, monkeypatch, net_s=NET_S) as second:
        cases = await deaf_cases(first, second, line)
        took_s = await asyncio.gather(*(case.took_s() for case in cases))
        assert line.marked == set()
    late = {case.kind.name: s for case, s in zip(cases, took_s, strict=True) if s >= NET_S + WITHIN_S}
    assert late == {}


async def test_whoever_can_hear_again_forgets_what_it_believed(
    dsn: str, replay: ReplayServer, first: RunningGateway, line: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with second_gateway(dsn, line, replay, monkeypatch, net_s=NEVER_S) as second:
        cases = await deaf_cases(first, second, line)
        for case in cases:
            if case.kind.asked:  # though a refusal is remembered for a moment
                assert await case.took_s() < WITHIN_S, case.kind.name
            else:
                assert not await case.shows_now(), case.kind.name
        mended_at_s = time.monotonic()
        line.mend()
        took_s = await asyncio.gather(*(case.took_s(mended_at_s) for case in cases))
    late = {case.kind.name: s for case, s in zip(cases, took_s, strict=True) if s >= WITHIN_S}
    assert late == {}
