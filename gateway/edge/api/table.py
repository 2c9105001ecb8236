"""Every endpoint of /api."""

from typing import Final

from gateway.edge.api import cost, keys, markups, orgs, pricing
from gateway.edge.api import credits as credits_
from gateway.edge.api.endpoint import Endpoint

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    orgs.create,
    orgs.page,
    orgs.get,
    orgs.suspend,
    orgs.resume,
    keys.create,
    keys.page,
    keys.revoke,
    credits_.add,
    credits_.balance,
    credits_.transactions,
    cost.calculate,
    pricing.page,
    pricing.get,
    pricing.set_price,
    pricing.end_price,
    pricing.initialize,
    markups.page,
    markups.get_all,
    markups.put_all,
    markups.get_of_plan,
    markups.put_of_plan,
    markups.get_of_org,
    markups.put_of_org,
)
