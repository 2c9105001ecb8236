"""Recorded answers come out byte for byte, however they are found and wherever they are cut."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.replay.gemini_request import read_gemini_request
from gateway.replay.recordings import CHAT, OWN_RECORDINGS, RecordingBroken, Recordings, script_of
from gateway.replay.request import read_chat_request, read_messages_request
from gateway.replay.script import cut
from gateway.replay.server import ReplayOptions, ReplayServer
from tests.replay import make_own_gemini, make_own_messages, make_own_recordings, make_own_responses, make_own_small

ROWS: list[dict[str, Any]] = make_own_recordings.chats()
MESSAGE_ROWS: list[dict[str, Any]] = make_own_messages.messages()
GEMINI_ROWS: list[dict[str, Any]] = make_own_gemini.rows()
FOLDERS = [OWN_RECORDINGS, *([Path(os.environ["RECORDINGS_DIR"])] if os.environ.get("RECORDINGS_DIR") else [])]
"""Where RECORDINGS_DIR is set, every test of this file runs over real traffic as well."""


def all_rows(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            rows += [json.loads(line) for line in lines]
    return rows


def ask(row: dict[str, Any], **changes: Any) -> Any:
    return read_chat_request(json.dumps({**row["request"], **changes}).encode())


def test_the_file_holds_what_its_script_writes() -> None:
    assert make_own_recordings.FILE.read_text(encoding="utf-8") == make_own_recordings.lines(), "run the script"
    for file, rows in [
        *make_own_messages.FILES.items(),
        *make_own_small.FILES.items(),
        *make_own_responses.FILES.items(),
    ]:
        assert file.read_text(encoding="utf-8") == make_own_messages.lines(rows()), "run the script"
    assert make_own_gemini.FILE.read_text(encoding="utf-8") == make_own_gemini.lines(GEMINI_ROWS), "run the script"


def test_own_recordings_are_all_found_by_what_they_ask() -> None:
    recordings = Recordings.load(OWN_RECORDINGS)
    small = [row for rows in make_own_small.FILES.values() for row in rows()]
    others = [*MESSAGE_ROWS, *make_own_messages.counts(), *make_own_responses.responses(), *GEMINI_ROWS]
    assert len(recordings) == len(ROWS) + len(others) + len(small)
    for row in [*MESSAGE_ROWS, *make_own_messages.counts()]:
        asked = read_messages_request(json.dumps(row["request"]).encode())
        assert getattr(recordings.by_question(asked, row["kind"]), "id", None) == row["id"]
    for row in GEMINI_ROWS:
        action = row["path"].partition("?")[0].rpartition(":")[2]
        limited = {**row["request"], "generationConfig": {**row["request"].get("generationConfig", {})}}
        limited["generationConfig"]["maxOutputTokens"] = 50
        for request in (row["request"], limited):
            body = json.dumps(request).encode()
            asked = read_gemini_request(body, make_own_gemini.MODEL, action, events=True)
            assert getattr(recordings.by_question(asked, row["kind"]), "id", None) == row["id"]
    for row in ROWS:
        found = recordings.by_question(ask(row))
        assert found is not None
        assert found.id == row["id"]


def test_a_recording_is_found_after_a_gateway_changed_its_request() -> None:
    recordings = Recordings.load(OWN_RECORDINGS)
    row = next(row for row in ROWS if row["id"] == "own-long-stream")
    changed = ask(row, model="alias", stream_options={"include_usage": True}, max_completion_tokens=50)
    found = recordings.by_question(changed)
    assert found is not None
    assert found.id == row["id"]


def test_several_answers_to_one_question_are_given_in_turn(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "id": f"r{number}", "body": str(number)} for number in range(3)]
    other = {**ROWS[0], "id": "other", "body": "other", "request": {**ROWS[0]["request"], "model": "another"}}
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in [*rows, other]))
    recordings = Recordings.load(tmp_path)
    given_ids = [getattr(recordings.by_question(ask(ROWS[0])), "id", None) for _ in range(5)]
    assert given_ids == ["r0", "r1", "r2", "r0", "r1"]
    assert getattr(recordings.by_question(ask(other)), "id", None) == "other"
    recordings.rewind()
    assert getattr(recordings.by_question(ask(ROWS[0])), "id", None) == "r0"


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"id":"a"}', b'{"id":1,"kind":"k","request":{},"body":""}', b"\xff"])
def test_a_line_that_is_no_recording_is_named(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "bad.jsonl").write_bytes(json.dumps(ROWS[0]).encode() + b"\n\n" + line)
    with pytest.raises(RecordingBroken, match=r"bad\.jsonl:3"):
        Recordings.load(tmp_path)


def test_binary_bodies_come_from_base64(tmp_path: Path) -> None:
    row = {**ROWS[0], "body": "AAH/", "body_encoding": "base64"}
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write(json.dumps(row))
    recording = Recordings.load(tmp_path).by_id(row["id"])
    assert recording is not None
    assert script_of(recording).pieces == [b"\x00\x01\xff"]


@given(seed=st.integers(0, 2**63 - 1), row=st.sampled_from([row for row in ROWS if row["request"].get("stream")]))
def test_cutting_moves_no_byte_and_no_token(seed: int, row: dict[str, Any]) -> None:
    recording = Recordings.load(OWN_RECORDINGS).by_id(row["id"])
    assert recording is not None
    script = script_of(recording)
    pieces = cut(script, seed)
    assert b"".join(pieces.pieces) == row["body"].encode()
    assert all(pieces.pieces)
    assert len(pieces.pieces) == len(pieces.piece_tokens)
    assert sum(pieces.piece_tokens) == sum(script.piece_tokens)
    assert (pieces.usage_piece is None) == (script.usage_piece is None)
    assert (len(pieces.pieces) == 1) == (seed == 0)


def test_the_usage_of_every_own_recording_is_known_where_it_was_sent() -> None:
    recordings = Recordings.load(OWN_RECORDINGS)
    without = {"own-stream-without-usage", "own-error-event"}
    for row in ROWS:
        recording = recordings.by_id(row["id"])
        assert recording is not None
        script = script_of(recording)
        assert (script.usage_piece is not None) == (row["status"] == 200 and row["id"] not in without), row["id"]
    cached = recordings.by_id("own-cached")
    assert cached is not None
    assert script_of(cached).tokens.cached_tokens == 1280


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
async def test_every_recorded_chat_is_served_byte_for_byte(folder: Path, http: aiohttp.ClientSession) -> None:
    rows = [row for row in all_rows(folder) if row["kind"] == CHAT]
    async with ReplayServer(ReplayOptions(recordings=folder)) as replay:
        for row in rows:
            headers = {"x-replay-id": row["id"]}
            async with http.post(f"{replay.base_url}/chat/completions", json=row["request"], headers=headers) as answer:
                assert await answer.read() == row["body"].encode()
                assert answer.status == row["status"]
                for name, value in row["headers"].items():
                    assert answer.headers[name] == value
        async with http.get(f"{replay.url}/_sent") as books:
            sent = await books.json()
    assert sent["total"]["calls"] == len(rows)
    assert sent["calls_dropped"] == 0
