"""What an inference handler needs, in one record, so that the hot path looks it up once."""

from typing import Final

import msgspec
from aiohttp import web

from gateway.edge.bodies import BodyBudget
from gateway.edge.headers import HeaderPolicy
from gateway.edge.observer import Observer
from gateway.ops.clock import Clock
from gateway.relay.relay import Relay


class Inference(msgspec.Struct, frozen=True, kw_only=True):
    relay: Relay
    bodies: BodyBudget
    headers: HeaderPolicy
    observer: Observer
    clock: Clock
    low_balance_ucr: int
    insufficient_status: int
    """402, or 429 for clients that know only OpenAI's own codes."""


INFERENCE: Final = web.AppKey("inference", Inference)
