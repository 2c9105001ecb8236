"""Every endpoint of /api."""

from typing import Final

from gateway.edge.api import audit_log, export, keys, orgs, personal_data, statistics, transactions
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
    personal_data.personal_data,
    personal_data.erase,
    audit_log.page,
)
