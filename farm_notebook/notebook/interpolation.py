"""Which ``{fields}`` of a prompt are filled with the notebook's values, and which braces are left alone.

A prompt is prose, but it quotes code, JSON, templates and formulas, all full of braces. A field
is therefore narrow: ``{name}``, followed by any of ``.attribute`` and ``[constant]``, with no
space, conversion or format spec. It is filled only where it resolves; every other byte survives.

Left alone even where a name would resolve: ``{{name}}``, f-string literals, ``${name}``,
arguments of LaTeX commands, and math between ``$$``, ``$`` (by Pandoc's rule, see
https://pandoc.org/MANUAL.html#extension-tex_math_dollars), ``\\(``, ``\\[``. No span crosses a
blank line, f-strings apart. How a value reads as text stands in ``values.py``.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import BuiltinFunctionType, ModuleType
from typing import Literal, TypeAlias

from farm_notebook.notebook.values import as_text

__all__ = ["Filled", "interpolate", "look_up"]

LONGEST_FIELD = 1_000
DEEPEST_ARGUMENT = 6

_Step: TypeAlias = tuple[Literal["attribute", "item"], str | int]

# Every scan that fails has stopped at or before the next place where its like could open, so that
# the whole text costs linear time. That is why no span may hold its own opening.
_NEWLINE = r"\n(?![ \t\r]*+\n)"  # one that does not begin a blank line
_ESCAPE = r"\\[^\n]?+"


@dataclass(frozen=True, slots=True)
class Filled:
    """A prompt after interpolation.

    Args:
        text: The prompt as it is to be sent.
        filled: Sources of the fields that were filled, e.g. ``df.shape[0]``, in order, each once.
        left: Sources that look like a field but did not resolve, in order, each once.
    """

    text: str
    filled: tuple[str, ...]
    left: tuple[str, ...]


def interpolate(text: str, namespace: Mapping[str, object]) -> Filled:
    """Fill the fields of a prompt, once: what came out of a variable is never scanned again.

    Args:
        text: The prompt, of any length; the time is linear in it.
        namespace: Values by name. Each field is read once, however often it stands in the text.

    Returns:
        The text, with the sources of the fields that were filled and that were left.
    """
    if "{" not in text:
        return Filled(text, (), ())
    values: dict[str, str | None] = {}

    def fill(match: re.Match[str]) -> str:
        source = match["field"]
        if source is None:
            return match[0]
        if source not in values:
            steps = _parse(source)
            if steps is None:
                return match[0]
            values[source] = _resolve(*steps, namespace)
        value = values[source]
        return match[0] if value is None else value

    filled_text = _scanner().sub(fill, text)
    return Filled(
        filled_text,
        tuple(source for source, value in values.items() if value is not None),
        tuple(source for source, value in values.items() if value is None),
    )


def look_up(source: str, namespace: Mapping[str, object]) -> object:
    """The value that a field without its braces names, as in ``df.shape[0]``.

    Args:
        source: A name, followed by any of ``.attribute`` and ``[constant]``.
        namespace: Values by name.

    Raises:
        LookupError: It names nothing, nothing that may be read, or a value that cannot be had.
    """
    steps = _parse(source)
    if steps is None:
        raise LookupError(f"{source!r} is no name.")
    try:
        return _value(*steps, namespace)
    except LookupError:
        raise
    except Exception as error:  # noqa: BLE001 - a user's property or __getitem__ may raise anything
        raise LookupError(f"{source!r} cannot be read: {type(error).__name__}: {error}") from None


def _parse(source: str) -> tuple[str, list[_Step]] | None:
    """The name a field starts from and the steps that follow it; ``None`` where it is no field."""
    if len(source) > LONGEST_FIELD:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes such as "\d", which are the prompt's business
            node = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    steps: list[_Step] = []
    while not isinstance(node, ast.Name):
        match node:
            case ast.Attribute(value=inner, attr=attribute):
                steps.append(("attribute", attribute))
            case ast.Subscript(value=inner, slice=ast.Constant(value=int() | str() as key)):
                steps.append(("item", key))
            case ast.Subscript(
                value=inner, slice=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as key))
            ):
                steps.append(("item", -key))
            case _:
                return None
        node = inner
    return node.id, steps[::-1]


def _resolve(name: str, steps: list[_Step], namespace: Mapping[str, object]) -> str | None:
    """The text of what a field names; ``None`` where it does not resolve or may not be read."""
    try:
        value = _value(name, steps, namespace)
    except Exception:  # noqa: BLE001 - a user's property or __getitem__ may raise anything; the field is left
        return None
    return None if isinstance(value, ModuleType | BuiltinFunctionType) else as_text(value)


def _value(name: str, steps: list[_Step], namespace: Mapping[str, object]) -> object:
    """What a field names.

    Raises:
        LookupError: It may not be read.
        Exception: Whatever reading it raises.
    """
    if name.startswith("__") and name.strip("_"):  # __builtins__ and its like; IPython's __ and ___ are fine
        raise LookupError(f"{name!r} is Python's own.")
    if any(kind == "attribute" and str(key).startswith("_") for kind, key in steps):
        raise LookupError("What begins with _ is nobody else's.")
    value = namespace[name]
    for kind, key in steps:
        value = getattr(value, str(key)) if kind == "attribute" else value[key]  # type: ignore[index]  # it raises
    return value


@cache
def _scanner() -> re.Pattern[str]:
    """One alternation of all protected spans and, in the group ``field``, of a field.

    It is compiled at first use, because that takes longer than importing the module may.
    """
    braces = _braces()
    spans = [
        r"\{\{[^{}\n]*+\}\}",
        *_f_strings(),
        *_math(),
        rf"\${braces}",
        # Any number of backslashes, as JSON doubles them; \n and \t are escapes, hardly ever commands.
        rf"(?<!\\)\\++(?![nt]\{{)[A-Za-z]++\*?+(?:\[[^\[\]\n]*+\])*+{braces}(?:\[[^\[\]\n]*+\]|{braces})*+",
    ]
    string = r""""(?:[^"\\\n]|\\[^\n])*+"|'(?:[^'\\\n]|\\[^\n])*+'"""
    field = rf"\{{(?P<field>[^\W\d]\w*+(?:\.[^\W\d]\w*+|\[(?:-?[0-9]++|{string})\])*+)\}}"
    return re.compile(rf"(?=[\\${{fFrR])(?:{'|'.join(spans)}|{field})", re.DOTALL)


def _braces() -> str:
    """Balanced braces, to a bounded depth because ``re`` knows no recursion."""
    plain = rf"[^{{}}\\\n]++|{_ESCAPE}|{_NEWLINE}"
    pattern = rf"\{{(?:{plain})*+\}}"
    for _ in range(DEEPEST_ARGUMENT):
        pattern = rf"\{{(?:{plain}|{pattern})*+\}}"
    return pattern


def _f_strings() -> list[str]:
    """F-string literals, triple-quoted first; the reuse of a quote inside (Python 3.12) is not followed."""
    prefix = r"(?<!\w)(?:[fF][rR]?|[rR][fF])"
    triple = [rf"{prefix}{q * 3}(?:[^{q}\\]++|\\.|{q}(?!{q}{q}))*+{q * 3}" for q in "\"'"]
    return triple + [rf"{prefix}{q}(?:[^{q}\\\n]++|\\.)*+{q}" for q in "\"'"]


def _math() -> list[str]:
    """Math spans: dollars, and brackets after one backslash or, as in JSON, two."""
    plain = rf"[^$\\\n]++|{_ESCAPE}|{_NEWLINE}"
    dollars = [
        rf"(?<![\\$])\$\$(?:{plain}|\$(?!\$))++\$\$",
        # Beyond Pandoc: a dollar before a brace opens ${name} and therefore closes nothing.
        rf"(?<![\\$])\$(?![\s$])(?:{plain})++(?<!\s)\$(?![\d{{])",
    ]
    brackets = [
        rf"(?<!\\){slash}{left}(?:{slash}{slash}|(?!{slash}(?:{left}|{right}))[^\n]|{_NEWLINE})*+{slash}{right}"
        for slash in (r"\\", r"\\\\")
        for left, right in ((r"\(", r"\)"), (r"\[", r"\]"))
    ]
    return dollars + brackets
