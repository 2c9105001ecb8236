"""What the ledger's bench measured: printed, kept as JSON, and drawn."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    what: str
    value: float
    unit: str
    goal: str = ""
    digits: int = 0
    curve: str = ""
    """The curve of a plot that it is a point of; x says where."""
    x: float | None = None
    low: float | None = None
    high: float | None = None
    """The least and the most of several runs of which the value is the median."""
    listed: bool = True
    """In the table; what is not is for a plot alone."""

    def __str__(self) -> str:
        return f"{self.value:,.{self.digits}f}"


@dataclass
class Played:
    """A scene's figures, and the conditions they were taken under."""

    conditions: str
    figures: list[Figure] = field(default_factory=list)

    def curve(self, name: str) -> list[Figure]:
        return [figure for figure in self.figures if figure.curve == name]

    def value(self, curve: str) -> float:
        """Of a curve with one point."""
        (figure,) = self.curve(curve)
        return figure.value


Results = dict[str, Played]


def write_results(path: Path, results: Results) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name: asdict(played) for name, played in results.items()}, indent=1) + "\n", "utf-8")


def read_results(path: Path) -> Results:
    return {
        name: Played(played["conditions"], [Figure(**figure) for figure in played["figures"]])
        for name, played in json.loads(path.read_text("utf-8")).items()
    }
