"""The rooms a handler may enter: typed keys under which the application carries them. Filled by app.py alone."""

from typing import Final
from uuid import UUID

from aiohttp import web

from gateway.edge.observer import Observer
from gateway.identity.key_ring import KeyRing
from gateway.ledger.ledger import Ledger
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.relay.catalogue import Catalogue
from gateway.relay.offers import Offers
from gateway.relay.stored_responses import StoredResponses
from gateway.usage.generation import Generations
from gateway.usage.key_usage import KeyUsage

CLOCK: Final = web.AppKey("clock", Clock)
IDS: Final = web.AppKey("ids", IdSource)
KEY_RING: Final = web.AppKey("key_ring", KeyRing)
LEDGER: Final = web.AppKey("ledger", Ledger)
CATALOGUE: Final = web.AppKey("catalogue", Catalogue)
OFFERS: Final = web.AppKey("offers", Offers)
STORED_RESPONSES: Final = web.AppKey("stored_responses", StoredResponses)
GENERATIONS: Final = web.AppKey("generations", Generations)
KEY_USAGE: Final = web.AppKey("key_usage", KeyUsage)
INSUFFICIENT_STATUS: Final = web.AppKey("insufficient_status", int)
"""402, or 429 for clients that know only OpenAI's own codes."""

REQUEST_ID: Final = web.RequestKey("request_id", UUID)
"""What a request outside inference is called, in its answer, in the log and in the audit log."""

OBSERVER: Final = web.AppKey("observer", Observer)
