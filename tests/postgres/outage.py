"""A database that is away and comes back: no one may connect, and who was connected is cut off."""

from urllib.parse import urlsplit, urlunsplit

import asyncpg


class Outage:
    def __init__(self, admin: asyncpg.Connection, database: str) -> None:
        self._admin = admin
        self._database = database

    @classmethod
    async def of(cls, dsn: str) -> "Outage":
        parts = urlsplit(dsn)
        admin = await asyncpg.connect(urlunsplit(parts._replace(path="/postgres")))
        return cls(admin, parts.path.removeprefix("/"))

    async def begin(self) -> None:
        await self._admin.execute(f'ALTER DATABASE "{self._database}" ALLOW_CONNECTIONS false')
        await self.cut()

    async def cut(self) -> None:
        """Every connection is lost; new ones are welcome."""
        await self._admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", self._database
        )

    async def end(self) -> None:
        await self._admin.execute(f'ALTER DATABASE "{self._database}" ALLOW_CONNECTIONS true')

    async def close(self) -> None:
        await self.end()
        await self._admin.close()
