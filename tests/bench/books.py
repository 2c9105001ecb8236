"""The gateway's side of the bench: how it is started, who pays, and whether the books are right afterwards."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from decimal import Decimal
from typing import Any

from gateway.core.pricing import charge
from gateway.core.units import UCR_PER_CREDIT, credits_text
from gateway.core.usage import Usage
from gateway.pricing.book import PriceBook
from tests.bench.mock import OUTPUT_TOKENS, PROMPT_TOKENS

OPERATOR_KEY = "bench-operator-key-0123456789"
CREDITS = "1000000000"
MODEL = "gpt-4o-mini"


class Books:
    """Compares what the mock sent with what was charged."""

    def __init__(self, *, port: int, dsn: str, mock_port: int) -> None:
        self.port = port
        self._dsn = dsn
        self._mock_port = mock_port
        self._org = ""
        price = PriceBook.load(credits_per_usd=Decimal(1000), overrides=()).find("openai", MODEL)
        assert price is not None
        self._prices = price.prices

    def command(self) -> list[str]:
        return [sys.executable, "-m", "gateway", "serve", "--port", str(self.port)]

    def environ(self) -> dict[str, str]:
        return os.environ | {
            "DATABASE_URL": self._dsn,
            "TOLLGATE_OPERATOR_KEY": OPERATOR_KEY,
            "OPENAI_API_KEY": "sk-bench",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{self._mock_port}/v1",
        }

    def open_account(self) -> str:
        """Waits until the gateway is ready, makes an organisation with credits, and returns its API key."""
        self._wait_until_ready()
        self._org = self._api("POST", "/api/orgs", {"name": "bench"})["id"]
        granted = {
            "organization_id": self._org,
            "amount": CREDITS,
            "transaction_type": "PURCHASE",
            "reason": "MANUAL_ADJUSTMENT",
        }
        self._api("POST", "/api/credits/add", granted)
        return str(self._api("POST", f"/api/orgs/{self._org}/keys", {"name": "bench"})["key"])

    def sent_ucr(self) -> int:
        """What the mock's answers cost at the pinned prices: each call rounded by itself, as it is charged."""
        url = f"http://127.0.0.1:{self._mock_port}/_sent"
        with urllib.request.urlopen(url, timeout=10) as answer:
            sent = json.loads(answer.read())
        whole = charge(self._prices, Usage(prompt_tokens=PROMPT_TOKENS, output_tokens=OUTPUT_TOKENS)).cost_ucr
        stream = charge(self._prices, Usage(prompt_tokens=PROMPT_TOKENS, output_tokens=sent["chunks"])).cost_ucr
        return int(sent["whole"]) * whole + int(sent["streams"]) * stream

    def charged_ucr(self) -> int:
        balance = self._api("GET", f"/api/credits/balance?organization_id={self._org}")
        if balance["held_ucr"] or balance["receivable_ucr"]:
            raise AssertionError(f"credits are still held or owed: {balance}")
        return int(CREDITS) * UCR_PER_CREDIT - int(balance["balance_ucr"])

    def wrong(self) -> str:
        """What is wrong with the books; empty when nothing is."""
        sent, charged = self.sent_ucr(), self.charged_ucr()
        if sent != charged:
            return f"charged {credits_text(charged)} credits for usage worth {credits_text(sent)}"
        audit = subprocess.run(
            [sys.executable, "-m", "gateway", "audit", "--full"],
            env=self.environ(),
            capture_output=True,
            text=True,
            check=False,
        )
        return "" if audit.returncode == 0 else f"the audit found violations:\n{audit.stdout}{audit.stderr}"

    def _wait_until_ready(self) -> None:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        raise TimeoutError("the gateway did not become ready in 30 s")

    def _api(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Bearer {OPERATOR_KEY}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.loads(answer.read()))
