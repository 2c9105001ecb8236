"""Arguments and options that several commands take, checked as /api checks them."""

import re
from datetime import UTC, datetime
from typing import Any, Final

import click

from gateway.core.address import network_of
from gateway.core.units import AmountInvalid, ucr_from_text

_LINE: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_PAGE_ROWS_MAX: Final = 1000


class LineParam(click.ParamType[str]):
    """One line of text of at most 200 characters."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not isinstance(value, str) or _LINE.fullmatch(value) is None:
            self.fail("must be one line of 1 to 200 characters", param, ctx)
        return value


class AmountParam(click.ParamType[int]):
    """Credits, as a decimal number with at most 6 places, above 0 → µcr."""

    name = "credits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            ucr = ucr_from_text(value)
        except AmountInvalid as error:
            self.fail(str(error), param, ctx)
        if ucr == 0:
            self.fail("must be above 0", param, ctx)
        return ucr


class NetworkParam(click.ParamType[str]):
    """An address or a network such as 10.0.0.0/8, as the database writes it."""

    name = "network"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(network_of(value))
        except ValueError as error:
            self.fail(f"is no address or network: {error}", param, ctx)


class InstantParam(click.ParamType[datetime]):
    """RFC 3339, or a plain date; UTC where no offset is given. In the future."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a date nor a time such as 2027-01-31T12:00:00Z", param, ctx)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        if at <= datetime.now(UTC):
            self.fail(f"{value!r} has passed", param, ctx)
        return at


LINE: Final = LineParam()
AMOUNT: Final = AmountParam()
NETWORK: Final = NetworkParam()
INSTANT: Final = InstantParam()

limit_option: Final = click.option(
    "--limit", type=click.IntRange(1, _PAGE_ROWS_MAX), default=50, show_default=True, help="Rows at most."
)
offset_option: Final = click.option(
    "--offset", type=click.IntRange(0, 1_000_000), default=0, show_default=True, help="Rows to pass over first."
)
