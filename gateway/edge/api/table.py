"""Every endpoint of /api."""

from typing import Final

from gateway.edge.api import credits as credits_
from gateway.edge.api import keys, orgs
from gateway.edge.api.endpoint import Endpoint

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    orgs.create,
    orgs.page,
    orgs.get,
    orgs.suspend,
    orgs.resume,
    keys.create,
    keys.page,
    keys.get,
    keys.change,
    keys.rotate,
    keys.revoke,
    credits_.add,
    credits_.balance,
    credits_.transactions,
)
