"""The bench's figures are kept and drawn alike: what ran for half an hour must not be lost to a plot."""

from pathlib import Path

from tests.bench.ledger_figures import read_results, write_results
from tests.bench.ledger_plots import PLOTS, draw

DOCS = Path(__file__).parents[2] / "docs"
KEPT = DOCS / "plots" / "ledger.json"


def test_figures_come_back_as_they_were_written(tmp_path: Path) -> None:
    results = read_results(KEPT)
    write_results(tmp_path / "again.json", results)
    assert read_results(tmp_path / "again.json") == results


def test_the_same_figures_are_drawn_as_the_same_bytes(tmp_path: Path) -> None:
    results = read_results(KEPT)
    for folder in ("first", "second"):
        draw(results, tmp_path / folder)
    for name in PLOTS:
        first, second = ((tmp_path / folder / f"{name}.svg").read_bytes() for folder in ("first", "second"))
        assert first == second
        assert len(first) < 64_000


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    results = read_results(KEPT)
    draw({"hot": results["hot"]}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger-rate.svg"]


def test_every_plot_is_shown_in_the_documents() -> None:
    text = (DOCS / "ledger.md").read_text("utf-8")
    for name in PLOTS:
        assert f"](plots/{name}.svg)" in text
        assert (DOCS / "plots" / f"{name}.svg").exists()
