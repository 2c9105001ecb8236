"""`--demo`: an organisation with credits to try things with, and a provider that answers without a key or a network."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

import click
import msgspec

from gateway.app import Gateway
from gateway.core.errors import NotFound
from gateway.core.origin import Origin
from gateway.core.units import ucr_from_credits
from gateway.ledger.grants import Grant, TransactionType
from gateway.relay.catalogue import REPLAY, Served
from gateway.settings import DEFAULT_UPSTREAMS, Settings
from gateway.upstream.providers import PROVIDERS
from gateway.upstream.registry import Upstream

ORG_NAME = "demo"
DEMO = Origin(actor="demo")
CREDITS = Decimal(1000)
MODEL = "gpt-4o-mini"
CLAUDE = "claude-haiku-4-5"
GEMINI = "gemini-2.5-flash"
COMMAND = ".venv/bin/tollgate" if Path(sys.prefix).name == ".venv" else "tollgate"
REPLAY_START_S = 15.0


class Demo:
    """What `make run` adds to a plain `serve`."""

    def __init__(self) -> None:
        self._replay: asyncio.subprocess.Process | None = None

    async def with_provider(self, settings: Settings, stack: AsyncExitStack) -> Settings:
        """The settings, with the replay provider as upstream where none is configured."""
        if settings.upstreams:
            return settings
        # A session of its own, so that Ctrl-C in the terminal reaches the gateway alone and calls under way can end;
        # and its standard input is ours, so that it ends with us if we are killed.
        self._replay = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "replay", "--port", "0", "--interval-ms", "30", "--until-eof",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        stack.push_async_callback(self._stop_replay)
        assert self._replay.stdout is not None
        async with asyncio.timeout(REPLAY_START_S):
            line = (await self._replay.stdout.readline()).decode()
        base_url = next(word for word in line.split() if word.startswith("http"))
        click.echo(f"no provider key is set: the replay provider answers, at {base_url}", err=True)
        for provider in DEFAULT_UPSTREAMS:
            settings = settings.with_default_upstream(provider, base_url=base_url, api_key="")
        sandbox = Upstream(
            name="sandbox",
            provider=REPLAY,
            base_url=base_url,
            api_key="",
            dialects=frozenset(PROVIDERS[REPLAY].dialects),
        )
        return msgspec.structs.replace(settings, upstreams=(*settings.upstreams, Served(sandbox)))

    async def _stop_replay(self) -> None:
        assert self._replay is not None
        if self._replay.returncode is None:
            self._replay.send_signal(signal.SIGTERM)
            await self._replay.wait()

    async def welcome(self, gateway: Gateway) -> None:
        """On first start makes the organisation and prints its key, once; later says that it is there."""
        try:
            org = await gateway.orgs.named(ORG_NAME)
        except NotFound:
            pass
        else:
            click.echo(
                f"demo organisation {org.name} ({org.org_id}) is there; another key: "
                f"{COMMAND} key create demo --name mine",
                err=True,
            )
            return
        org = await gateway.orgs.create(ORG_NAME, by=DEMO)
        await gateway.ledger.grant(
            Grant(
                id=gateway.ids.next(),
                org_id=org.org_id,
                account_id=org.account_id,
                amount_ucr=ucr_from_credits(CREDITS),
                transaction_type=TransactionType.BONUS,
                reason="WELCOME_BONUS",
                description="credits to try the demo with",
            ),
            by=DEMO,
        )
        _, token = await gateway.keys.create(org.org_id, name="demo", by=DEMO)
        click.echo(
            _SNIPPETS.format(
                credits=f"{CREDITS:,}", token=token, url=gateway.url, model=MODEL, claude=CLAUDE, gemini=GEMINI
            ),
            err=True,
        )


_SNIPPETS = """
Demo organisation made, with {credits} credits. Its API key, shown this once:

    {token}

Try it:

    curl -i {url}/v1/chat/completions \\
      -H "authorization: Bearer {token}" -H "content-type: application/json" \\
      -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "What is a toll?"}}]}}'

or, with the OpenAI SDK (pip install openai):

    from openai import OpenAI

    client = OpenAI(base_url="{url}/v1", api_key="{token}")
    for chunk in client.chat.completions.create(
        model="{model}", stream=True, messages=[{{"role": "user", "content": "What is a toll?"}}]
    ):
        print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="", flush=True)

or in Anthropic's dialect:

    curl {url}/v1/messages \\
      -H "x-api-key: {token}" -H "content-type: application/json" \\
      -d '{{"model": "{claude}", "max_tokens": 300, "messages": [{{"role": "user", "content": "What is a toll?"}}]}}'

or in Gemini's:

    curl {url}/v1beta/models/{gemini}:generateContent \\
      -H "x-goog-api-key: {token}" -H "content-type: application/json" \\
      -d '{{"contents": [{{"parts": [{{"text": "What is a toll?"}}]}}]}}'

and look at what it cost:

    curl {url}/v1/credits -H "authorization: Bearer {token}"
"""
