"""docs/access.md: which role may ask for what, made from the endpoints themselves.

python -m gateway.edge.api.rights_table > docs/access.md
"""

import sys
from collections.abc import Iterable
from itertools import groupby
from typing import Final

from gateway.core.access import HOLDERS, Role
from gateway.edge.api.endpoint import Endpoint
from gateway.edge.api.table import ENDPOINTS

_PEOPLE: Final = (Role.OPERATOR, Role.ORG_ADMIN, Role.BILLING, Role.MEMBER, Role.VIEWER)
_KEYS: Final = (Role.MANAGER, Role.APPLICATION, Role.SANDBOX)
ROLES: Final = (*_PEOPLE, *_KEYS)
assert set(ROLES) == set(Role)

_HEAD: Final = """\
# Who may do what on `/api`

Made by `make docs` from `gateway/core/access.py` and the endpoints; one test compares them, and another asks every
endpoint as every role, in its own organisation and in another's.

The operator acts by the operator's key, or by a token whose role [`[jwt]`](configuration.md#jwt) maps to `operator`.
People (`org_admin`, `billing`, `member`, `viewer`) act by tokens. API keys act as `manager` (kind `management`),
`application` (kind `inference`) or `sandbox`. Everyone but the operator acts inside one organisation. Another's objects
are 404 to them, whatever their role; what their role may not do is 403 in their own. Each item of a batch needs the
right that it would need alone.

`own`: shown is what is their own user's alone; of the balance, the accounts and the budgets also what is the
organisation's as a whole, and nothing of a colleague's. An `application` or `sandbox` key that is a user's is shown no
more either.
"""


def rights_table(endpoints: Iterable[Endpoint]) -> str:
    """The document, in Markdown."""
    lines = [_HEAD]
    for tag, group in groupby(sorted(endpoints, key=lambda endpoint: endpoint.tag), key=lambda endpoint: endpoint.tag):
        lines += [f"## {tag}", "", _row("", "right", *ROLES), _row(*["---"] * (len(ROLES) + 2))]
        lines += [
            _row(f"`{endpoint.method} {endpoint.plain_path}`", f"`{endpoint.needs}`", *_marks(endpoint))
            for endpoint in group
        ]
        lines.append("")
    return "\n".join(lines)


def _marks(endpoint: Endpoint) -> list[str]:
    everybodys = HOLDERS[endpoint.own_without or endpoint.needs]
    return ["" if role not in HOLDERS[endpoint.needs] else "yes" if role in everybodys else "own" for role in ROLES]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


if __name__ == "__main__":
    sys.stdout.write(rights_table(ENDPOINTS))
