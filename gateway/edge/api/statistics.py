"""/api/credits/statistics: what was used, by day, model, user, key or feature."""

from datetime import date, timedelta
from typing import Annotated, Final, TypedDict
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.credits import OfOrg
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.subject import whose
from gateway.edge.api.transactions import Name, settled_org
from gateway.edge.requests import Day, invalid
from gateway.usage.statistics import Group, GroupBy, Slice

DAYS_MAX: Final = 92
DAYS: Final = 30
GROUPS_MAX: Final = 1_000


class StatisticsQuery(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    group_by: GroupBy = GroupBy.DAY
    from_: Day | None = msgspec.field(default=None, name="from")
    """A day in the organisation's time zone; 30 days before `to` unless said."""
    to: Day | None = None
    """The day after the last; tomorrow unless said. At most 92 days after `from`."""
    model: Name | None = None
    user: UUID | None = None
    key: UUID | None = None
    feature: Name | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=GROUPS_MAX)] = 100


class SumView(msgspec.Struct, frozen=True, kw_only=True):
    """Cost = charged + overage + waived. A late correction counts to the day of its call, a refund to its own."""

    calls: int
    failed: int
    """Of the calls, those that ended in an error."""
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt's."""
    output_tokens: int
    reasoning_tokens: int
    """Of the output's."""
    cost_ucr: int
    cost: str
    charged_ucr: int
    charged: str
    overage_ucr: int
    overage: str
    waived_ucr: int
    waived: str
    refunded_ucr: int
    """Given back by hand, and in none of the others."""
    refunded: str


class GroupView(SumView, frozen=True, kw_only=True):
    group: str | None
    """The day, the model, the feature, or the id of the user or key; null: calls that have none."""


class StatisticsView(msgspec.Struct, frozen=True, kw_only=True):
    organization_id: UUID
    time_zone: str
    group_by: GroupBy
    from_: date = msgspec.field(name="from")
    to: date
    data: list[GroupView]
    """Days in their order; everything else the dearest first."""
    complete: bool
    """False: there are more groups than `limit`. They are in `total`."""
    total: SumView


@endpoint("GET", "/api/credits/statistics", needs=Right.READ_CREDITS, own_without=Right.READ_ALL_CREDITS)
async def statistics(ask: Ask, query: StatisticsQuery) -> StatisticsView:
    """Calls, tokens and costs of whole days in the organisation's time zone, in groups.

    A call counts to the day on which it began, in the zone that the organisation had then.
    """
    ask.org(query.organization_id)
    user_id = whose(ask, query.user)
    org_id = await settled_org(ask, query)
    zone, today = await ask.house.statistics.today(org_id, ask.house.clock.now())
    first, end = _days(query, today)
    slice = Slice(
        first_day=first, end_day=end, model=query.model, user_id=user_id, key_id=query.key, feature=query.feature
    )
    groups, total = await ask.house.statistics.groups(org_id, slice, query.group_by, limit=query.limit + 1)
    return StatisticsView(
        organization_id=org_id,
        time_zone=zone,
        group_by=query.group_by,
        from_=first,
        to=end,
        data=[GroupView(group=group.name, **_sums(group)) for group in groups[: query.limit]],
        complete=len(groups) <= query.limit,
        total=SumView(**_sums(total)),
    )


def _days(query: StatisticsQuery, today: date) -> tuple[date, date]:
    """Raises InvalidRequest."""
    end = query.to or (today + timedelta(days=1) if query.from_ is None else query.from_ + timedelta(days=DAYS))
    first = query.from_ or end - timedelta(days=DAYS)
    if not timedelta(days=1) <= end - first <= timedelta(days=DAYS_MAX):
        raise invalid("to", f"must be 1 to {DAYS_MAX} days after `from`")
    return first, end


class _Sums(TypedDict):
    calls: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_ucr: int
    cost: str
    charged_ucr: int
    charged: str
    overage_ucr: int
    overage: str
    waived_ucr: int
    waived: str
    refunded_ucr: int
    refunded: str


def _sums(group: Group) -> _Sums:
    return {
        "calls": group.calls,
        "failed": group.failed,
        "prompt_tokens": group.prompt_tokens,
        "cached_tokens": group.cached_tokens,
        "output_tokens": group.output_tokens,
        "reasoning_tokens": group.reasoning_tokens,
        "cost_ucr": group.cost_ucr,
        "cost": credits_text(group.cost_ucr),
        "charged_ucr": group.charged_ucr,
        "charged": credits_text(group.charged_ucr),
        "overage_ucr": group.overage_ucr,
        "overage": credits_text(group.overage_ucr),
        "waived_ucr": group.waived_ucr,
        "waived": credits_text(group.waived_ucr),
        "refunded_ucr": group.refunded_ucr,
        "refunded": credits_text(group.refunded_ucr),
    }
