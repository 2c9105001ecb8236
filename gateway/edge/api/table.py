"""Every endpoint of /api."""

from typing import Final

from gateway.edge.api import (
    audit_log,
    cost,
    export,
    keys,
    markups,
    orgs,
    personal_data,
    pricing,
    statistics,
    transactions,
)
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
    keys.get,
    keys.change,
    keys.rotate,
    keys.revoke,
    credits_.add,
    credits_.balance,
    transactions.transactions,
    transactions.history,
    statistics.statistics,
    export.export,
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
    personal_data.personal_data,
    personal_data.erase,
    audit_log.page,
)
