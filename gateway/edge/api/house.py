"""The rooms that /api's handlers may enter, in one record."""

from collections.abc import Mapping

import msgspec

from gateway.identity.key_ring import KeyRing
from gateway.identity.keys import Keys
from gateway.identity.orgs import Orgs
from gateway.identity.shared_key import SharedKey
from gateway.identity.users import Users
from gateway.ledger.ledger import Ledger
from gateway.ledger.plans import Plan
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.pricing.features import FeatureCost
from gateway.relay.catalogue import Catalogue


class House(msgspec.Struct, frozen=True, kw_only=True):
    clock: Clock
    ids: IdSource
    operator_key: SharedKey
    key_ring: KeyRing
    orgs: Orgs
    keys: Keys
    users: Users
    ledger: Ledger
    catalogue: Catalogue
    plans: Mapping[str, Plan]
    """What organisations can subscribe to, by id."""
    insufficient_status: int
    """402, or 429 for clients that know only OpenAI's own codes."""
    features: Mapping[str, FeatureCost]
    """What deductions can name, by id."""
