"""What a person is in an organisation: a closed list, because rights and rules hang on it."""

from typing import Literal

Role = Literal["member", "viewer", "billing", "org_admin"]
