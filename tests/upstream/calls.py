"""How the tests of this room name an upstream and read an answer."""

from gateway.upstream.client import UpstreamAnswer, UpstreamClient
from gateway.upstream.registry import Timeouts, Upstream
from tests.fakes.hostile_upstream import HostileUpstream

PATH = "/chat/completions"
BODY = b'{"model":"hostile","messages":[{"role":"user","content":"hi"}]}'
PATIENT = Timeouts(connect_s=5, first_event_s=5, idle_s=5, total_s=20)


def upstream_at(base_url: str, timeouts: Timeouts = PATIENT) -> Upstream:
    return Upstream(name="hostile", provider="openai", base_url=base_url, api_key="sk-secret", timeouts=timeouts)


async def read_all(answer: UpstreamAnswer, timeout_s: float = 5) -> bytes:
    pieces = []
    while piece := await answer.read(timeout_s):
        pieces.append(piece)
    return b"".join(pieces)


async def ask(client: UpstreamClient, hostile: HostileUpstream, behaviour: str) -> tuple[int, bytes]:
    answer = await client.send(upstream_at(hostile.url(behaviour)), PATH, BODY)
    return answer.status, await read_all(answer)
