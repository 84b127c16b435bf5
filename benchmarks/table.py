"""How is a measured figure told: its bar, its floor in the same run, and whether it holds?"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(".cache/bench")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. Without a bar it is told for information."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    at_most: bool = True
    """Whether the bar is a ceiling; otherwise a floor."""
    beside: str = ""
    """What was measured next to it in the same run, or what a peer takes (FACTS.md)."""
    reference: float | None = None
    """The value of what stands beside it; the ratio is ours over this."""
    note: str = ""

    @property
    def holds(self) -> bool:
        if self.bar is None:
            return True
        return self.value <= self.bar if self.at_most else self.value >= self.bar

    @property
    def ratio(self) -> float | None:
        return self.value / self.reference if self.reference else None


def broken(name: str, bar: float | None, unit: str, why: str, *, at_most: bool = True) -> Figure:
    """A figure that could not be measured: it misses its bar."""
    value = float("inf") if at_most else 0.0
    return Figure(name, value, unit, bar=bar or 0.0, at_most=at_most, note=why)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; ``share`` 0.5 is the median."""
    if share == 0.5:
        return statistics.median(values)
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(figures: Sequence[Figure], console: Console | None = None) -> None:
    table = Table(title=f"Stoker on {platform.machine()}, Python {platform.python_version()}")
    for heading in ("figure", "ours", "bar", "beside it", "ratio", ""):
        table.add_column(heading, justify="left" if heading in ("figure", "beside it") else "right")
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        table.add_row(
            figure.name + (f"\n[dim]{figure.note}[/dim]" if figure.note else ""),
            amount(figure.value, figure.unit),
            bar_text(figure),
            beside_text(figure),
            ratio,
            verdict(figure),
        )
    (console or Console(width=118)).print(table)


def bar_text(figure: Figure) -> str:
    if figure.bar is None:
        return ""
    return ("≤ " if figure.at_most else "≥ ") + amount(figure.bar, figure.unit)


def beside_text(figure: Figure) -> str:
    if figure.reference is None:
        return figure.beside
    return f"{figure.beside}: {amount(figure.reference, figure.unit)}"


def verdict(figure: Figure) -> str:
    if figure.bar is None:
        return ""
    return "[green]holds[/green]" if figure.holds else "[red]MISSED[/red]"


def amount(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def keep(figures: Sequence[Figure], folder: Path = RESULTS) -> Path:
    """Writes one JSON file a run, so that runs can be compared."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / time.strftime("main-%Y%m%d-%H%M%S.json")
    rows = [{**asdict(f), "holds": f.holds, "ratio": f.ratio} for f in figures]
    path.write_text(json.dumps(rows, indent=1))
    return path
