"""A gateway as a process of its own, started as an operator starts it, and what an operator does with it through /api.

async with running_gateway(dsn=dsn, upstream_url=replay.base_url, data_dir=folder) as gateway:
    customer = await gateway.customer(credits="10")
"""

import asyncio
import contextlib
import json
import os
import pwd
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import aiohttp

REPOSITORY: Final = Path(__file__).parents[2]
PROCESS_WITHIN_S: Final = 60.0
"""For a start, a stop, a line of the log: far more than any of them takes, so that only a fault runs into it."""

LINE_BYTES_MAX: Final = 2**20

_LISTENS: Final = re.compile(r"Tollgate listens on (http://\S+)")
_COMPLAINS: Final = re.compile(r'"level": ?"(warning|error|critical)"|^Traceback')
_INHERITED: Final = ("PATH", "HOME", "TMPDIR", "PG_BIN", "LANG", "LC_ALL")
"""What a gateway gets of the tests' environment: nothing that could configure it."""

T = TypeVar("T")


class GatewayDied(AssertionError):
    """It ended before it said what was waited for; the text is what it wrote to standard error."""


@dataclass(frozen=True)
class Customer:
    """An organisation with one key."""

    org_id: str
    api_key: str


@dataclass(frozen=True)
class Balance:
    """`balance_ucr` includes what is held."""

    balance_ucr: int
    held_ucr: int
    available_ucr: int
    receivable_ucr: int


@dataclass
class Said:
    """What a process says: to standard output a JSON line for each request, the rest to standard error."""

    requests: list[Mapping[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _streams_open: int = 2
    _grew: asyncio.Condition = field(default_factory=asyncio.Condition)
    _readers: list[asyncio.Task[None]] = field(default_factory=list)

    def listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [
            asyncio.ensure_future(self._read(process.stdout, lambda text: self.requests.append(json.loads(text)))),
            asyncio.ensure_future(self._read(process.stderr, self.errors.append)),
        ]

    async def request(self, **fields: object) -> Mapping[str, Any]:
        """The line of the first ended request with these fields, waited for."""

        def find() -> Mapping[str, Any] | None:
            items = fields.items()
            return next((line for line in self.requests if all(line.get(name) == value for name, value in items)), None)

        return await self._first(find)

    async def error(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """The first line of standard error in which `pattern` is found, waited for."""
        return await self._first(lambda: next((hit for text in self.errors if (hit := pattern.search(text))), None))

    def complaints(self) -> list[str]:
        """What it logged as a warning or worse, and tracebacks."""
        return [text for text in self.errors if _COMPLAINS.search(text)]

    async def end(self) -> None:
        """Both are read to their end."""
        await asyncio.gather(*self._readers)

    async def _first(self, find: Callable[[], T | None]) -> T:
        async with asyncio.timeout(PROCESS_WITHIN_S), self._grew:
            while (found := find()) is None:
                if not self._streams_open:
                    raise GatewayDied("\n".join(self.errors))
                await self._grew.wait()
            return found

    async def _read(self, stream: asyncio.StreamReader, keep: Callable[[str], None]) -> None:
        while line := await stream.readline():
            async with self._grew:
                keep(line.decode().rstrip("\n"))
                self._grew.notify_all()
        async with self._grew:
            self._streams_open -= 1
            self._grew.notify_all()


@dataclass
class RunningGateway:
    """The process, what it says, and its operator's API."""

    url: str
    operator_key: str
    process: asyncio.subprocess.Process
    said: Said
    session: aiohttp.ClientSession

    @property
    def base_url(self) -> str:
        """As an SDK wants it."""
        return f"{self.url}/v1"

    # --- the operator -------------------------------------------------------------------------------------------------

    async def api(self, method: str, path: str, **options: Any) -> Any:
        """The answer's JSON; any status but 2xx is an AssertionError with the body."""
        headers = {"authorization": f"Bearer {self.operator_key}"}
        async with self.session.request(method, f"{self.url}/api{path}", headers=headers, **options) as response:
            body = await response.text()
            assert response.ok, f"{method} /api{path}: {response.status} {body}"
            return json.loads(body)

    async def create_org(self, name: str = "Example") -> str:
        org = await self.api("POST", "/orgs", json={"name": name})
        return str(org["id"])

    async def create_key(self, org_id: str, **wishes: Any) -> str:
        key = await self.api("POST", f"/orgs/{org_id}/keys", json={"name": "test", **wishes})
        return str(key["key"])

    async def add_credits(self, org_id: str, amount: str) -> None:
        """`amount` in decimal credits."""
        grant = {"transaction_type": "PURCHASE", "reason": "MANUAL_ADJUSTMENT"}
        await self.api("POST", "/credits/add", json={"organization_id": org_id, "amount": amount, **grant})

    async def customer(self, credits: str | None = None) -> Customer:
        """A new organisation with a key, and with credits if any are given."""
        org_id = await self.create_org(f"Customer {uuid4().hex[:8]}")
        if credits is not None:
            await self.add_credits(org_id, credits)
        return Customer(org_id, await self.create_key(org_id))

    async def suspend(self, org_id: str) -> None:
        await self.api("POST", f"/orgs/{org_id}/suspend")

    async def balance(self, org_id: str) -> Balance:
        """Everything that had ended when this was asked is in it."""
        answer = await self.api("GET", "/credits/balance", params={"organization_id": org_id})
        return Balance(**{name: answer[name] for name in Balance.__dataclass_fields__})

    # --- the process --------------------------------------------------------------------------------------------------

    async def stop(self) -> int:
        """As Ctrl-C does: it settles first. Returns the exit status."""
        return await self._end(signal.SIGTERM)

    async def interrupt(self) -> int:
        """As Ctrl-C in a terminal: everything in the foreground's process group gets it."""
        os.killpg(self.process.pid, signal.SIGINT)
        return await self._ended()

    async def kill(self) -> int:
        """kill −9: nothing is settled."""
        return await self._end(signal.SIGKILL)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def _end(self, how: signal.Signals) -> int:
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await self._ended()

    async def _ended(self) -> int:
        async with asyncio.timeout(PROCESS_WITHIN_S):
            status = await self.process.wait()
            await self.said.end()
        return status


@contextlib.asynccontextmanager
async def running_gateway(
    *,
    dsn: str | None,
    upstream_url: str | None,
    data_dir: Path,
    config: str = "",
    environ: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    user: str | None = None,
) -> AsyncIterator[RunningGateway]:
    """`config` is TOML, `arguments` go to `serve`. `dsn` None: the gateway starts its own PostgreSQL in `data_dir`.
    `upstream_url` None: no provider is named in the environment. `user` is who runs it, for tests that root runs.

    At the end the process is killed, unless it has a PostgreSQL to stop before.
    """
    operator_key = f"op-{secrets.token_urlsafe(16)}"
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    if upstream_url is not None:
        environment |= {"OPENAI_API_KEY": "sk-replay", "OPENAI_BASE_URL": upstream_url}
    environment |= {"TOLLGATE_OPERATOR_KEY": operator_key, "PYTHONUNBUFFERED": "1", **(environ or {})}
    if dsn is not None:
        environment["DATABASE_URL"] = dsn
    command = [
        sys.executable,
        "-m",
        "gateway",
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--data-dir",
        str(data_dir),
        *arguments,
    ]
    if config:
        file = data_dir / f"tollgate-{uuid4().hex[:8]}.toml"
        await asyncio.to_thread(file.write_text, config)
        command += ["--config", str(file)]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=REPOSITORY,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
        start_new_session=True,
        user=user,
        group=None if user is None else pwd.getpwnam(user).pw_gid,
        extra_groups=None if user is None else [],
    )
    said = Said()
    said.listen(process)
    try:
        listens = await said.error(_LISTENS)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            yield RunningGateway(listens[1], operator_key, process, said, session)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, signal.SIGTERM if dsn is None else signal.SIGKILL)
        await process.wait()
        await said.end()
