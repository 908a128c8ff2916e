"""How a Python value reads as compact text, for a model to read in a prompt.

Text goes in whole; data goes in as its shape, its types and its first or outer items; plots as
what they show. pandas, numpy, torch, polars, matplotlib and Pillow are recognised by the names of
a value's classes, so that none of them is ever imported for the question. Which fields of a
prompt are filled stands in ``interpolation.py``, what a figure shows in ``figures.py``.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import numbers
import os
import sys
import textwrap
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from farm_notebook.notebook.figures import describe_axes, describe_figure

__all__ = ["as_text"]

LONGEST_TEXT = 4_000  # characters of a value that is not itself text
LONGEST_PRETTY = 100_000  # characters of a repr beyond which laying it out costs too much time
LONGEST_CELL = 80  # characters
MOST_ROWS = 10
MOST_COLUMNS = 20
FIRST_BYTES = 64
WHOLE_ARRAY = 200  # items up to which an array is shown whole
WIDTH = 100  # characters


def as_text(value: object) -> str:
    """A value as text: strings and replies whole, data in summary, all else to about 4,000 characters.

    Args:
        value: Anything. It is never changed, and its failures are not raised.

    Returns:
        The text, or ``<TypeName: its repr failed>``.
    """
    try:
        return _read(value)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything; the prompt says so instead
        return f"<{type(value).__name__}: its repr failed>"


def _read(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value))
    if isinstance(value, BaseException):
        return _cut(f"{type(value).__name__}: {value}" if str(value) else type(value).__name__)
    if isinstance(value, FunctionType | MethodType | BuiltinFunctionType | type):
        return _cut(_source(value) or repr(value))
    for cls in type(value).__mro__:
        reader = _READERS.get((str(cls.__module__).partition(".")[0], cls.__name__))
        if reader is not None:
            return reader(value)
    return _cut(str(value) if isinstance(value, numbers.Number) else _pretty(value))


def _cut(text: str) -> str:
    rest = len(text) - LONGEST_TEXT
    return text if rest <= 0 else f"{text[:LONGEST_TEXT]}\n... ({rest:,} more characters)"


def _pretty(value: object) -> str:
    flat = repr(value)
    if len(flat) > LONGEST_PRETTY:
        return flat
    if (ipython := sys.modules.get("IPython.lib.pretty")) is not None:
        return str(ipython.pretty(value, max_width=WIDTH, max_seq_length=0))
    import pprint

    return pprint.pformat(value, width=WIDTH, compact=True, sort_dicts=False)


def _bytes(value: bytes) -> str:
    more = " ..." if len(value) > FIRST_BYTES else ""
    return f"bytes, {len(value):,} long: {value[:FIRST_BYTES]!r}{more}"


def _source(value: FunctionType | MethodType | BuiltinFunctionType | type) -> str:
    """The source of what the user defined; empty for a library's, and where none is to be had."""
    try:
        file, source = inspect.getfile(value), inspect.getsource(value)
    except (OSError, TypeError):  # also a class of a cell: its module has no file (Python <= 3.12)
        return _class_source(value) if isinstance(value, type) else ""
    library = (os.path.dirname(os.__file__) + os.sep, os.sep.join(("", "site-packages", "")))
    return "" if file.startswith(library[0]) or library[1] in file else textwrap.dedent(source).rstrip()


def _class_source(cls: type) -> str:
    """The source of a class, found through one of its own methods; cells keep theirs in ``linecache``."""
    for code in (member.__code__ for member in vars(cls).values() if isinstance(member, FunctionType)):
        lines = linecache.getlines(code.co_filename)
        try:
            nodes = list(ast.walk(ast.parse("".join(lines))))
        except SyntaxError:
            continue
        for node in nodes:
            if not isinstance(node, ast.ClassDef) or node.name != cls.__name__ or node.end_lineno is None:
                continue
            if node.lineno <= code.co_firstlineno <= node.end_lineno:
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                return textwrap.dedent("".join(lines[first - 1 : node.end_lineno])).rstrip()
    return ""


def _frame(frame: Any) -> str:
    rows, columns = frame.shape
    text = f"DataFrame, {rows:,} rows x {columns:,} columns"
    if not columns:
        return text
    shown = frame.iloc[:, :MOST_COLUMNS]
    types = [f"{name} ({dtype})" for name, dtype in zip(shown.columns, shown.dtypes, strict=True)]
    more = f", and {columns - MOST_COLUMNS:,} more" if columns > MOST_COLUMNS else ""
    return "\n".join([text, f"columns: {', '.join(types)}{more}", *_first_rows(shown, rows, header=True)])


def _series(series: Any) -> str:
    name = "" if series.name is None else f" {series.name!r}"
    text = f"Series{name}, {len(series):,} rows, dtype {series.dtype}"
    return "\n".join([text, *_first_rows(series.to_frame(), len(series), header=False)])


def _first_rows(frame: Any, rows: int, *, header: bool) -> list[str]:
    if not rows:
        return []
    table = frame.iloc[:MOST_ROWS].to_string(max_colwidth=LONGEST_CELL, header=header)
    return [f"first {MOST_ROWS} rows:", table] if rows > MOST_ROWS else [table]


def _array(array: Any) -> str:
    title = f"{type(array).__name__}, shape {array.shape}, dtype {array.dtype}"
    if array.ndim > 8:  # two items at either edge of so many axes are no summary any more
        return title
    edge = 3 if array.ndim <= 3 else 1
    text = sys.modules["numpy"].array2string(
        array, threshold=WHOLE_ARRAY, edgeitems=edge, max_line_width=WIDTH
    )
    return _cut(f"{title}\n{text}")


def _tensor(tensor: Any) -> str:
    title = f"Tensor, shape {tuple(tensor.shape)}, dtype {tensor.dtype}, device {tensor.device}"
    return _cut(f"{title}\n{tensor!r}")


def _image(image: Any) -> str:
    return f"Image, {image.width:,} x {image.height:,} pixels, mode {image.mode}"


def _reply(reply: Any) -> str:
    return reply.text if isinstance(reply.text, str) else _cut(_pretty(reply))


_READERS: dict[tuple[str, str], Callable[[Any], str]] = {
    ("farm_notebook", "Reply"): _reply,
    ("pandas", "DataFrame"): _frame,
    ("pandas", "Series"): _series,
    ("polars", "DataFrame"): repr,
    ("polars", "Series"): repr,
    ("numpy", "ndarray"): _array,
    ("numpy", "generic"): str,
    ("torch", "Tensor"): _tensor,
    ("matplotlib", "Figure"): lambda figure: _cut(describe_figure(figure)),
    ("matplotlib", "Axes"): lambda axes: _cut(describe_axes(axes)),
    ("PIL", "Image"): _image,
}
