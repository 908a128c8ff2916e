"""Tables of figures: as Markdown on the terminal, and a section a benchmark in ``RESULTS.md``."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import psutil

__all__ = ["RESULTS", "Row", "Table", "at_least", "at_most", "machine", "write_results"]

RESULTS = Path(__file__).with_name("RESULTS.md")
_COLUMNS = ("measure", "ours", "limit or peer", "ratio", "goal", "met")
_SECTION = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.M | re.S)
_HEAD = """# Results

Written by `python -m benchmarks --write`; each section is overwritten when its benchmark runs. Figures are
medians of interleaved runs. Absolute ones depend on the machine and on what else it did; the ratios are
within one run.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table; what does not apply is empty."""

    measure: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """The row's text, column by column."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        met = "" if self.met is None else ("yes" if self.met else "**no**")
        return (self.measure, self.ours, self.peer, ratio, self.goal, met)


@dataclass(frozen=True, slots=True)
class Table:
    """What one benchmark found.

    Args:
        name: The benchmark.
        title: One sentence on what was measured, and how often.
        rows: The figures.
        notes: Sentences below the table.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())

    def markdown(self) -> str:
        """The table with its title above and its notes below."""
        rows = [_COLUMNS, *(row.cells() for row in self.rows)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
        lines = [_line(row, widths) for row in rows]
        lines.insert(1, _line(tuple("-" * width for width in widths), widths))
        return "\n".join([self.title, "", *lines, *(f"\n{note}" for note in self.notes)])


def at_most(measure: str, ours: str, peer: str, ratio: float, limit: float) -> Row:
    """A row whose goal is a ratio to the peer of at most ``limit``."""
    return Row(measure, ours, peer, ratio, f"≤ {limit:g} times", ratio <= limit)


def at_least(measure: str, ours: str, peer: str, ratio: float, limit: float) -> Row:
    """A row whose goal is a ratio to the peer of at least ``limit``."""
    return Row(measure, ours, peer, ratio, f"≥ {limit:g} times", ratio >= limit)


def machine() -> str:
    """The kind of machine: processor, cores, memory, Python; nothing that names this one."""
    memory_gib = psutil.virtual_memory().total / 2**30
    return (
        f"{_processor()}, {psutil.cpu_count()} cores, {memory_gib:.0f} GiB, "
        f"{platform.system()}, Python {platform.python_version()}"
    )


def write_results(tables: list[Table]) -> None:
    """Put each table's section into ``RESULTS.md``, in place of its last one."""
    kept = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else ""
    sections = {match[1]: match[2].strip("\n") for match in _SECTION.finditer(kept)}
    where = f"{date.today().isoformat()}, {machine()}."
    sections |= {table.name: f"\n{where}\n\n{table.markdown()}".strip("\n") for table in tables}
    body = "".join(f"\n## {name}\n\n{text}\n" for name, text in sections.items())
    RESULTS.write_text(_HEAD + body, encoding="utf-8")


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file() and (found := re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.M)):
        return found[1].strip()
    return platform.processor() or platform.machine()
