"""Books of one organisation."""

import asyncpg
import pytest

from tests.usage.rows import Books


@pytest.fixture
async def books(owner: asyncpg.Connection) -> Books:
    books = Books(owner)
    await books.open()
    return books
