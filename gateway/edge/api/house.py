"""The rooms that /api's handlers may enter, in one record."""

import msgspec

from gateway.identity.key_ring import KeyRing
from gateway.identity.keys import Keys
from gateway.identity.orgs import Orgs
from gateway.identity.shared_key import SharedKey
from gateway.identity.users import Users
from gateway.ledger.ledger import Ledger
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.pricing.book import PriceBook
from gateway.pricing.desk import PriceDesk
from gateway.pricing.sets import PriceSet
from gateway.pricing.watch import StoredPrices
from gateway.relay.catalogue import Catalogue
from gateway.relay.offers import Offers


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
    offers: Offers
    price_book: PriceBook
    """What holds beside the stored prices."""
    stored_prices: StoredPrices
    price_desk: PriceDesk
    price_sets: tuple[PriceSet, ...]
