"""Plots of what the ledger's bench measured, as SVG: the same figures give the same bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullLocator

from tests.bench.ledger_figures import Played, Results

_STYLE: Final[Any] = {
    "svg.fonttype": "none",  # Text stays text: small files that can be searched.
    "svg.hashsalt": "tollgate",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "grid.color": "#e4e4e4",
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "legend.frameon": False,
}
_BLUE, _ORANGE, _GREEN, _GREY = "#1f6feb", "#d9730d", "#2e8b57", "#8c959f"
_GOAL: Final[dict[str, Any]] = {"color": _GREY, "linestyle": "--", "linewidth": 1}
_THOUSANDS: Final = FuncFormatter(lambda value, _: f"{value:,.0f}")
_PLAIN: Final = FuncFormatter(lambda value, _: f"{value:g}")


def draw(results: Results, folder: Path) -> None:
    """One file for each of `PLOTS` whose scenes were measured."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        for name, (scenes, plot) in PLOTS.items():
            if not all(scene in results for scene in scenes):
                continue
            sheet = plot(*(results[scene] for scene in scenes))
            conditions = dict.fromkeys(results[scene].conditions for scene in scenes)
            sheet.text(0.01, 0.012, "; ".join(conditions), color=_GREY, fontsize=8)
            sheet.savefig(folder / f"{name}.svg", format="svg", metadata={"Date": None, "Creator": None})


def _rate(hot: Played) -> Sheet:
    sheet, (axes,) = _sheet("Reserve + settle on one hot account", height=2.1)
    values = [hot.value("alone"), hot.value("together")]
    bars = axes.barh(["one by one", "in batches"], values, color=[_ORANGE, _BLUE], height=0.6)
    axes.bar_label(bars, labels=[f"{value:,.0f}" for value in values], padding=4)
    axes.axvline(15_000, **_GOAL)
    axes.text(15_000, 1.42, "goal", color=_GREY, ha="center", va="bottom", fontsize=8)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(_THOUSANDS)
    axes.set_xlabel("calls a second")
    axes.grid(visible=False, axis="y")
    return sheet


def _waits(hot: Played, cold: Played) -> Sheet:
    sheet, (left, right) = _sheet("5,000 reservations a second, one account", "A cold organisation", columns=2)
    _exceeded(left, hot, {"steady": ("5,000/s", _BLUE)})
    _exceeded(
        right,
        cold,
        {
            "alone": ("alone", _GREY),
            "same process": ("beside a flood in its process", _ORANGE),
            "another process": ("beside a flood in another process", _BLUE),
        },
    )
    left.set_ylabel("reservations that take longer")
    right.legend(fontsize=8, loc="lower left")
    return sheet


def _exceeded(axes: Axes, played: Played, curves: dict[str, tuple[str, str]]) -> None:
    """What share of them takes longer than so many milliseconds; both scales show the tail."""
    for curve, (label, color) in curves.items():
        points = [point for point in played.curve(curve) if point.x is not None and point.x < 1]
        axes.plot([p.value for p in points], [100 * (1 - (p.x or 0)) for p in points], "o-", color=color, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([0.5, 1, 2, 5, 10, 20, 50])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(_PLAIN)
    axes.set_yticks([100, 50, 10, 1, 0.1], ["100 %", "50 %", "10 %", "1 %", "0.1 %"])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0.08, 130)
    axes.plot([10], [1], marker="+", markersize=12, markeredgewidth=1.5, color="black", linestyle="none")
    axes.annotate("goal: p99 ≤ 10 ms", (10, 1), xytext=(0, 8), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xlabel("milliseconds")


def _size(flat: Played) -> Sheet:
    titles = ("Rows the account has already", "Accounts in the database")
    sheet, panels = _sheet(*titles, columns=2)
    for axes, curve in zip(panels, ("rows", "accounts"), strict=True):
        points = flat.curve(curve)
        values = [point.value for point in points]
        spread = [
            [point.value - (point.low or point.value) for point in points],
            [(point.high or point.value) - point.value for point in points],
        ]
        axes.errorbar([point.x or 0 for point in points], values, yerr=spread, fmt="o-", color=_BLUE, capsize=3)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_THOUSANDS)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(_THOUSANDS)
        axes.set_ylim(0, 1.15 * max(point.high or point.value for point in points))
    panels[0].set_ylabel("calls a second")
    return sheet


def _minutes(long: Played) -> Sheet:
    sheet, (rate, size, hot) = _sheet("Calls a second", "Tables that change with each call", "HOT updates", rows=3)
    _over_time(rate, long, "rate", _BLUE)
    _over_time(size, long, "bytes", _BLUE)
    size.set_ylabel("MB", color=_BLUE)
    dead = size.twinx()
    dead.grid(visible=False)
    _over_time(dead, long, "dead", _ORANGE)
    dead.set_ylabel("dead tuples", color=_ORANGE)
    _over_time(hot, long, "hot", _GREEN)
    hot.axhline(95, **_GOAL)
    hot.set_ylim(90, 100.5)
    hot.set_ylabel("%")
    hot.set_xlabel("seconds of load")
    return sheet


def _over_time(axes: Axes, played: Played, curve: str, color: str) -> None:
    points = played.curve(curve)
    axes.plot([point.x or 0 for point in points], [point.value for point in points], "o-", color=color)
    axes.set_xlim(0)
    axes.set_ylim(0, 1.15 * max(1.0, *(point.value for point in points)))
    axes.yaxis.set_major_formatter(_THOUSANDS)


def _trouble(snapshot: Played, delayed: Played) -> Sheet:
    sheet, (old, slow) = _sheet("An old snapshot is open", "Commits that are slow", columns=2)
    _over_time(old, snapshot, "open", _ORANGE)
    (after,) = snapshot.curve("after")
    old.plot([after.x or 0], [after.value], "o", color=_GREEN)
    old.annotate("closed", (after.x or 0, after.value), (-6, 6), textcoords="offset points", ha="right", color=_GREEN)
    alert = snapshot.value("alert")
    if alert <= (after.x or 0):
        old.axvline(alert, **_GOAL)
        old.annotate("TollgateOldSnapshot", (alert, 0), (-4, 6), textcoords="offset points", ha="right", fontsize=8)
    old.set_xlabel("seconds")
    old.set_ylabel("calls a second")
    points = delayed.curve("rate")
    bars = slow.bar([f"{point.x:,.0f}" for point in points], [point.value for point in points], 0.5, color=_BLUE)
    waits = zip(delayed.curve("p50"), delayed.curve("p99"), strict=True)
    labels = [
        f"{point.value:,.0f}\np50 {p50.value:.1f} ms\np99 {p99.value:.1f} ms"
        for point, (p50, p99) in zip(points, waits, strict=True)
    ]
    slow.bar_label(bars, labels=labels, fontsize=8, padding=3)
    slow.set_ylim(0, 1.35 * max(point.value for point in points))
    slow.yaxis.set_major_formatter(_THOUSANDS)
    slow.set_xlabel("commit_delay in µs\np50 and p99: of a reservation at 2,000/s")
    slow.grid(visible=False, axis="x")
    return sheet


PLOTS: Final[dict[str, tuple[tuple[str, ...], Callable[..., Sheet]]]] = {
    "ledger-rate": (("hot",), _rate),
    "ledger-waits": (("hot", "cold"), _waits),
    "ledger-size": (("flat",), _size),
    "ledger-minutes": (("long",), _minutes),
    "ledger-trouble": (("snapshot", "delayed"), _trouble),
}
"""The name of each file, and the scenes that it shows."""


def _sheet(*titles: str, rows: int = 1, columns: int = 1, height: float | None = None) -> tuple[Sheet, list[Axes]]:
    inches = height or 1.0 + 2.4 * rows
    conditions = 0.25 / inches
    layout = ConstrainedLayoutEngine(rect=(0, conditions, 1, 1 - conditions))
    sheet = Sheet(figsize=(8.4, inches), layout=layout, facecolor="white")
    panels = [sheet.add_subplot(rows, columns, number) for number in range(1, len(titles) + 1)]
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title)
    return sheet, panels
