"""The demo has a sandbox: an organisation without credits calls with a sandbox key, and with no other."""

from pathlib import Path

from tests.e2e.running import running_gateway


async def test_a_sandbox_key_calls_without_credits(dsn: str, tmp_path: Path) -> None:
    async with running_gateway(dsn=dsn, upstream_url=None, data_dir=tmp_path, arguments=("--demo",)) as gateway:
        org_id = await gateway.create_org()
        answers = {}
        for kind in ("sandbox", "inference", "management"):
            key = await gateway.create_key(org_id, kind=kind)
            async with gateway.session.post(
                f"{gateway.base_url}/chat/completions",
                json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]},
                headers={"authorization": f"Bearer {key}"},
            ) as response:
                answers[kind] = response.status
                if kind == "sandbox":
                    assert response.headers["x-tollgate-upstream"] == "sandbox"
        assert answers == {"sandbox": 200, "inference": 402, "management": 403}
        assert await gateway.stop() == 0
        assert gateway.said.complaints() == []
