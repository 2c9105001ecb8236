"""The ledger's common database serves simulations too."""

from tests.ledger.conftest import common_dsn

__all__ = ["common_dsn"]
