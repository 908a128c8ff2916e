"""What the cells of a notebook show, so that two runs can be compared.

Left out is what no two runs have in common: the numbers of executions, ids of displays and widgets, where
in a traceback an error came from, and the bytes of pictures, which another version of what draws them
changes. A cell with the tag ``nbval-ignore-output`` is not compared.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["CellDifference", "comparable", "differing_cells"]

IGNORED = "nbval-ignore-output"
LONGEST_LINES = 20
_NOT_COMPARED = (
    "application/vnd.jupyter.widget-view+json",
    "application/vnd.jupyter.widget-state+json",
    "image/png",
    "image/jpeg",
    "image/svg+xml",
    "application/pdf",
)
_READABLE = ("text/markdown", "text/plain")


@dataclass(frozen=True, slots=True)
class CellDifference:
    """A cell that shows something else than before.

    Args:
        number: Of the cell among those with code, from 1.
        source: Its code.
        lines: What is different, as in a unified diff.
    """

    number: int
    source: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        head = self.source.strip().splitlines()[:1]
        shown = [f"    {line}" for line in self.lines[:LONGEST_LINES]]
        if (more := len(self.lines) - LONGEST_LINES) > 0:
            shown.append(f"    … and {more:,} more lines")
        return "\n".join([f"cell {self.number} differs: {''.join(head)}", *shown])


def comparable(outputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A cell's outputs without what no two runs have in common.

    Args:
        outputs: As a notebook (nbformat 4) has them.
    """
    found: list[dict[str, Any]] = []
    for output in outputs:
        kind = output["output_type"]
        if kind == "stream":
            text = _text(output["text"])
            if found and found[-1].get("name") == output["name"] and found[-1]["output_type"] == kind:
                found[-1]["text"] += text  # in how many pieces a text was printed is chance
            else:
                found.append({"output_type": kind, "name": output["name"], "text": text})
        elif kind == "error":
            found.append({name: output[name] for name in ("output_type", "ename", "evalue")})
        else:
            data = {
                name: "" if name in _NOT_COMPARED else _text(value) for name, value in output["data"].items()
            }
            found.append({"output_type": kind, "data": data, "metadata": dict(output.get("metadata", {}))})
    return found


def differing_cells(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[CellDifference]:
    """The cells that show something else in one notebook than in the other.

    Args:
        before: A notebook, as nbformat reads it.
        after: The same one, executed again.
    """
    found = []
    for number, (old, new) in enumerate(zip(_code(before), _code(after), strict=False), 1):
        if IGNORED in old.get("metadata", {}).get("tags", ()):
            continue
        was, now = comparable(old["outputs"]), comparable(new["outputs"])
        if was != now:
            found.append(CellDifference(number, _text(old["source"]), tuple(_difference(was, now))))
    return found


def _code(notebook: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"])


def _text(value: Any) -> Any:
    """A text that may be written as a list of its lines."""
    is_in_lines = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return "".join(value) if is_in_lines else value


def _difference(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[str]:
    old, new = ([line for output in outputs for line in _lines(output)] for outputs in (before, after))
    if old == new:  # it is in what is not read: another form of the same, or metadata
        old, new = (json.dumps(outputs, indent=1, sort_keys=True).splitlines() for outputs in (before, after))
    return list(difflib.unified_diff(old, new, n=1, lineterm=""))[2:]


def _lines(output: Mapping[str, Any]) -> list[str]:
    match output["output_type"]:
        case "stream":
            text = output["text"]
        case "error":
            text = f"{output['ename']}: {output['evalue']}"
        case _:
            text = next((output["data"][kind] for kind in _READABLE if kind in output["data"]), str(output))
    return str(text).splitlines()
