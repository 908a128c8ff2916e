"""The models as a table, for a page without a kernel and for terminals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from farm_notebook.sanitize import printable

__all__ = ["as_html", "as_text"]

MOST = 100  # rows that are kept in the notebook
# Prices have no dollar sign, with which JupyterLab begins a formula.
COLUMNS = ("model", "state", "size", "context", "can", "US dollars a million tokens")
UNKNOWN = "-"

Row = Mapping[str, Any]


def as_html(models: Sequence[Row], states: Mapping[str, Row], default: str, notes: Sequence[str]) -> str:
    """A line a model; what is in memory first.

    Args:
        models: As ``rows`` tells them.
        states: What those in memory do, by name.
        default: The whole name of the model that answers where none is named.
        notes: What is said below.
    """
    head = "".join(f"<th>{escape(title)}</th>" for title in COLUMNS)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for cells in _table(models, states, default)
    )
    below = "\n".join(f"<p>{escape(note)}</p>" for note in (*notes, *_left_out(models)))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>\n{below}"


def as_text(models: Sequence[Row], states: Mapping[str, Row], default: str, notes: Sequence[str]) -> str:
    """The same for a terminal."""
    told = _table(models, states, default)
    width = max((len(cells[0]) for cells in told), default=0)
    lines = [f"{cells[0]:<{width}}  " + ", ".join(filter(_is_known, cells[1:])) for cells in told]
    return "\n".join(printable(line.rstrip()) for line in (*lines, *notes, *_left_out(models)))


def _table(models: Sequence[Row], states: Mapping[str, Row], default: str) -> list[tuple[str, ...]]:
    rank: Callable[[Row], tuple[bool, bool, bool]] = lambda row: (  # noqa: E731
        row["name"] != default,
        row["name"] not in states,
        not row["is_available"],
    )
    return [_cells(row, states.get(row["name"]), default) for row in sorted(models, key=rank)[:MOST]]


def _cells(row: Row, state: Row | None, default: str) -> tuple[str, ...]:
    from rich.filesize import decimal

    size, context = row["size_bytes"], row["context_tokens"]
    return (
        row["name"] + (" (default)" if row["name"] == default else ""),
        _state(row, state),
        UNKNOWN if size is None else decimal(size),
        UNKNOWN if context is None else f"{context:,}",
        ", ".join(row["capabilities"] or ()) or UNKNOWN,
        _price(row),
    )


def _state(row: Row, state: Row | None) -> str:
    if state is not None:
        return "loaded" if state["state"] == "ready" else str(state["state"])
    if row["is_available"]:
        return "on this machine" if row["is_here"] else "available"
    return "not fetched" if row["is_here"] else UNKNOWN


def _price(row: Row) -> str:
    prices = row["input_price"], row["output_price"]
    if None in prices:
        return UNKNOWN
    return "nothing" if prices == (0, 0) else "{:g} in, {:g} out".format(*prices)


def _left_out(models: Sequence[Row]) -> tuple[str, ...]:
    more = len(models) - MOST
    return (f"{more} more are not listed here.",) if more > 0 else ()


def _is_known(cell: str) -> bool:
    return cell != UNKNOWN
