"""What a matplotlib figure shows, as text: labels, and how many points and what range each artist has.

matplotlib and numpy are never imported for it: whoever has a figure has loaded both.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

__all__ = ["describe_axes", "describe_figure"]

MOST_ARTISTS = 20

_NUMERIC_TICK = r"[\W\d]*(?:e[\W\d]*)?|\$.*\$"


def describe_figure(figure: Any) -> str:
    """The size and title of a ``matplotlib.figure.Figure``, and what each of its axes shows."""
    width, height = figure.get_size_inches()
    title = f", title {figure.get_suptitle()!r}" if figure.get_suptitle() else ""
    text = [f"Figure, {width:g} x {height:g} inches, {len(figure.axes)} axes{title}"]
    return "\n".join(text + [describe_axes(axes) for axes in figure.axes])


def describe_axes(axes: Any) -> str:
    """What one set of axes shows: its labels, then a line for each artist that carries data."""
    bars = [group for group in axes.containers if type(group).__name__ == "BarContainer"]
    in_bars = {id(patch) for group in bars for patch in group}
    loose = [patch for patch in axes.patches if id(patch) not in in_bars]
    legend = axes.get_legend()
    words = {
        "title": axes.get_title(),
        "x": axes.get_xlabel(),
        "y": axes.get_ylabel(),
        "legend": ", ".join(entry.get_text() for entry in legend.get_texts()) if legend else "",
        "x ticks": _tick_words(axes.get_xticklabels()),
        "y ticks": _tick_words(axes.get_yticklabels()),
        "texts": "; ".join(entry.get_text() for entry in axes.texts[:MOST_ARTISTS] if entry.get_text()),
    }
    head = "; ".join(["Axes", *(f"{name} {text!r}" for name, text in words.items() if text)])
    artists = [_line(line) for line in axes.lines]
    artists += [_collection(item, axes) for item in axes.collections]
    artists += [f"{len(group)} bars{_label(group)}: values {_range(group.datavalues)}" for group in bars]
    artists += [f"{type(patch).__name__}{_label(patch)}: {_extent(_outline(patch))}" for patch in loose]
    artists += [f"image, shape {item.get_array().shape}: {_range(item.get_array())}" for item in axes.images]
    if (more := len(artists) - MOST_ARTISTS) > 0:
        artists[MOST_ARTISTS:] = [f"... and {more:,} more"]
    return "\n  ".join([head, *artists])


def _line(line: Any) -> str:
    x, y = line.get_xdata(orig=True), line.get_ydata(orig=True)
    return f"line{_label(line)}: {len(y):,} points, x {_range(x)}, y {_range(y)}"


def _collection(item: Any, axes: Any) -> str:
    if type(item).__name__ == "PathCollection":
        x, y = item.get_offsets().T
        return f"scatter{_label(item)}: {len(x):,} points, x {_range(x)}, y {_range(y)}"
    count, box = len(item.get_paths()), item.get_datalim(axes.transData)
    return f"{type(item).__name__}{_label(item)}: {count:,} paths, {_extent(box)}"


def _outline(patch: Any) -> Any:
    return patch.get_patch_transform().transform_path(patch.get_path()).get_extents()


def _extent(box: Any) -> str:
    return f"x {_range(box.intervalx)}, y {_range(box.intervaly)}"


def _label(artist: Any) -> str:
    label = str(artist.get_label() or "")
    return "" if not label or label.startswith("_") else f" {label!r}"  # matplotlib's own begin with _


def _range(values: Any) -> str:
    """The least and the greatest of some numbers, those not finite apart; else the first and the last."""
    numpy = sys.modules["numpy"]
    array = numpy.ma.compressed(numpy.ma.asarray(values))
    if array.dtype.kind in "biuf":
        finite = array[numpy.isfinite(array)]
        return f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "without data"
    return f"{array[0]} to {array[-1]}" if array.size else "without data"


def _tick_words(labels: Iterable[Any]) -> str:
    """The labels of an axis of categories or dates; empty for one of numbers."""
    words = [text for label in labels if (text := label.get_text())]
    numeric = all(re.fullmatch(_NUMERIC_TICK, word) for word in words)
    return "" if numeric else ", ".join(words[:MOST_ARTISTS])
