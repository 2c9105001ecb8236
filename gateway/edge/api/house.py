"""The rooms that /api's handlers may enter, in one record."""

from collections.abc import Mapping

import msgspec

from gateway.edge.api.pace import Pace
from gateway.edge.door import Door
from gateway.identity.key_ring import KeyRing
from gateway.identity.keys import Keys
from gateway.identity.orgs import Orgs
from gateway.identity.personal_data import People
from gateway.identity.shared_key import SharedKey
from gateway.identity.tokens import Tokens
from gateway.identity.users import Users
from gateway.ledger.audit_log import AuditLog
from gateway.ledger.ledger import Ledger
from gateway.ledger.plans import Plan
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.pricing.book import PriceBook
from gateway.pricing.desk import PriceDesk
from gateway.pricing.features import FeatureCost
from gateway.pricing.sets import PriceSet
from gateway.pricing.watch import StoredPrices
from gateway.relay.catalogue import Catalogue
from gateway.relay.offers import Offers
from gateway.usage.statistics import Statistics
from gateway.usage.transactions import Transactions


class House(msgspec.Struct, frozen=True, kw_only=True):
    clock: Clock
    ids: IdSource
    door: Door
    pace: Pace
    operator_key: SharedKey
    tokens: Tokens | None
    """None: people have no tokens."""
    key_ring: KeyRing
    orgs: Orgs
    keys: Keys
    users: Users
    people: People
    ledger: Ledger
    audit_log: AuditLog
    transactions: Transactions
    statistics: Statistics
    catalogue: Catalogue
    offers: Offers
    price_book: PriceBook
    """What holds beside the stored prices."""
    stored_prices: StoredPrices
    price_desk: PriceDesk
    price_sets: tuple[PriceSet, ...]
    plans: Mapping[str, Plan]
    """What organisations can subscribe to, by id."""
    insufficient_status: int
    """402, or 429 for clients that know only OpenAI's own codes."""
    features: Mapping[str, FeatureCost]
    """What deductions can name, by id."""
