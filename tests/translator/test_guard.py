"""What a library beneath tries to fetch is not fetched: by none of the HTTP clients, whatever litellm is made to do."""

import asyncio
import json
import sys

from tests.fakes.bedrock import Bedrock


async def test_nothing_but_the_configured_places_is_connected_to(bedrock: Bedrock) -> None:
    connections = 0

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    forbidden = await asyncio.start_server(connected, "localhost", 0)
    port = forbidden.sockets[0].getsockname()[1]
    async with forbidden:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.translator.guarded", bedrock.url.rpartition(":")[2], str(port),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await asyncio.wait_for(process.communicate(), 60)

    outcomes = dict(json.loads(line) for line in said.splitlines() if line.startswith(b"["))
    allowed = {name: outcome for name, outcome in outcomes.items() if name.startswith("http:")}
    tried = {name: outcome for name, outcome in outcomes.items() if name not in allowed}
    assert len(tried) == 13, said
    assert all(tried.values()), tried
    assert connections == 0
    assert list(allowed.values()) == [404, 404]
    assert bedrock.pictures == 2
    assert bedrock.asked == []
    assert process.returncode == 0
