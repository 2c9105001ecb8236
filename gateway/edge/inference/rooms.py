"""What an inference handler needs, in one record, so that the hot path looks nothing up."""

import msgspec

from gateway.edge.bodies import BodyBudget
from gateway.edge.door import Door
from gateway.edge.headers import HeaderPolicy
from gateway.edge.observer import Observer
from gateway.identity.key_ring import KeyRing
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.relay.counting import TokenCounts
from gateway.relay.relay import Relay


class Inference(msgspec.Struct, frozen=True, kw_only=True):
    door: Door
    key_ring: KeyRing
    relay: Relay
    counting: TokenCounts
    bodies: BodyBudget
    headers: HeaderPolicy
    observer: Observer
    clock: Clock
    ids: IdSource
    low_balance_ucr: int
    insufficient_status: int
    """402, or 429 for clients that know only OpenAI's own codes."""
