"""`tollgate replay` as people start it: a process, an address on its first line, SIGTERM."""

import asyncio
import json
import re
import signal
import sys
from pathlib import Path

import aiohttp
from click.testing import CliRunner

from gateway.cli.replay import replay

ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "What was recorded?"}]}


async def test_it_says_where_it_answers_and_goes_quietly(tmp_path: Path) -> None:
    row = {"id": "mine", "kind": "openai-chat", "request": ASKED, "status": 200, "headers": {}, "body": "recorded"}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "replay", "--port", "0", "--recordings", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        found = re.search(r"replaying on (http://127\.0\.0\.1:\d+/v1) ", line)
        assert found is not None, line
        async with aiohttp.ClientSession() as http, http.post(f"{found[1]}/chat/completions", json=ASKED) as answer:
            assert await answer.text() == "recorded"
    finally:
        process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), 10)
    assert code == 0


async def test_it_goes_with_whoever_started_it_when_told_to() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "replay", "--port", "0", "--until-eof"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert b"replaying on" in await process.stdout.readline()
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0


def test_a_folder_with_a_broken_recording_is_refused_by_line(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{}\n")
    result = CliRunner().invoke(replay, ["--port", "0", "--recordings", str(tmp_path)])
    assert result.exit_code == 1
    assert "bad.jsonl:1" in result.output


def test_an_address_that_is_not_ours_is_an_error_in_one_line() -> None:
    result = CliRunner().invoke(replay, ["--host", "192.0.2.1", "--port", "0"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output
