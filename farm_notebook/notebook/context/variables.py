"""What is told of a variable: its type and size, its columns, a few rows, a signature; never all of it."""

from __future__ import annotations

import inspect
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sized
from difflib import get_close_matches
from itertools import islice
from types import ModuleType

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.context.piece import Piece
from farm_notebook.notebook.interpolation import look_up
from farm_notebook.notebook.offers import own_names
from farm_notebook.notebook.values import as_text

__all__ = ["describe", "local_variables", "read_variables"]

LONGEST_DOC = 1_500  # characters
MOST_ATTRIBUTES = 20
MOST_NAMES = 12
MOST_LOCALS = 12
MOST_ITEMS = 2_000  # that are laid out; to write many more takes seconds
FEW_ITEMS = 20
LONGEST_TEXT = 400_000  # characters; no model takes in as much
_SUMMARISED = ("shape", "columns", "get_size_inches")  # whose text says already what and how much it is
_CONTAINERS = (list, tuple, dict, set, frozenset)
_SECRET_NAME = re.compile(
    r"(?:.*_)?(?:password|passwd|passphrase|pwd|secret|token|credentials?|api_?key|bearer|cookie)(?:_.*)?"
    r"|.+_key",
    re.IGNORECASE,
)


def read_variables(names: Iterable[str], namespace: Mapping[str, object]) -> list[Piece]:
    """What is told of some variables, each once.

    Args:
        names: Each may go on with ``.attribute`` and ``[constant]``.
        namespace: Values by name.

    Raises:
        InvalidRequestError: Quoting a name that leads to nothing, with the closest one.
    """
    return [Piece(name, "variable", _told(name, _found(name, namespace))) for name in dict.fromkeys(names)]


def local_variables(variables: Mapping[str, object], function: str) -> list[Piece]:
    """What is told of the variables of a function that was at work, its arguments first.

    Args:
        variables: By name, in their order.
        function: Its name.
    """
    own = {name: value for name, value in variables.items() if not name.startswith(("_", "."))}
    return [
        Piece(f"{name} in {function}", "variable", _told(name, value))
        for name, value in list(own.items())[:MOST_LOCALS]
    ]


def _told(name: str, value: object) -> str:
    """A variable; of one that is called a secret only that it is there: a mention is no leave to send it."""
    last = re.findall(r"\w+", name)[-1:]
    if isinstance(value, str | bytes) and last and _SECRET_NAME.fullmatch(last[0]):
        return f"{type(value).__name__}, {len(value):,} long; by its name it is a secret, and is not told"
    return describe(value)


def describe(value: object) -> str:
    """A value in summary.

    Args:
        value: Anything. It is never changed, and its failures are not raised.

    Returns:
        A line that says what it is, and what there is to be told of it below.
    """
    try:
        return _described(value)
    except Exception:  # noqa: BLE001 - a user's __len__, __doc__ or property may raise anything
        return as_text(value)


def _described(value: object) -> str:
    kind = type(value)
    if isinstance(value, ModuleType):
        version = vars(value).get("__version__")
        return f"module {value.__name__}" + (f", version {version}" if isinstance(version, str) else "")
    if callable(value) and (isinstance(value, type) or hasattr(value, "__name__")):
        return _callable(value)
    if isinstance(value, str):
        more = f"\n... (the first {LONGEST_TEXT:,})" if len(value) > LONGEST_TEXT else ""
        return f"str, {len(value):,} characters\n{value[:LONGEST_TEXT]}{more}"
    if any(hasattr(kind, name) for name in _SUMMARISED):  # of the class: a property may be long in coming
        return as_text(value)
    if isinstance(value, _CONTAINERS) and _size(value, MOST_ITEMS) >= MOST_ITEMS:
        return f"{kind.__name__}, {len(value):,} items\n{_shortly(value)}"
    if kind.__repr__ is object.__repr__ and hasattr(value, "__dict__"):
        return _object(value)
    if isinstance(value, Sized):
        return f"{kind.__name__}, {len(value):,} items\n{as_text(value)}"
    text = as_text(value)
    return text if text.startswith(kind.__name__) else f"{kind.__name__}\n{text}"


def _callable(value: Callable[..., object]) -> str:
    """The source of what the user wrote; of all else how it is called and what it says of itself."""
    if (text := as_text(value)) != repr(value):
        return text
    what = "class" if isinstance(value, type) else "function"
    name = f"{getattr(value, '__module__', None) or ''}.{getattr(value, '__qualname__', '')}".lstrip(".")
    try:
        signature = str(inspect.signature(value))
    except (TypeError, ValueError):  # many that are written in C have none
        signature = "(...)"
    doc = inspect.getdoc(value) or ""
    if len(doc) > LONGEST_DOC:
        doc = f"{doc[:LONGEST_DOC]}..."
    return "\n".join(filter(None, [f"{what} {name}{signature}", doc]))


def _object(value: object) -> str:
    """An object that has no text of its own, by its attributes."""
    attributes = [(name, item) for name, item in vars(value).items() if not name.startswith("_")]
    lines = [f"  .{name}: {_briefly(item)}" for name, item in attributes[:MOST_ATTRIBUTES]]
    if (more := len(attributes) - MOST_ATTRIBUTES) > 0:
        lines.append(f"  ... and {more:,} more")
    return "\n".join([f"{type(value).__module__}.{type(value).__qualname__} object", *lines])


def _size(value: object, most: int) -> int:
    """How many items a value holds, those of its items included; no further than it takes to say 'many'."""
    count, waiting = 0, [value]
    while waiting and count < most:
        item = waiting.pop()
        count += 1 + (len(item) // 50 if isinstance(item, str | bytes) else 0)
        if isinstance(item, dict):
            waiting += islice(item.values(), most)
        elif isinstance(item, _CONTAINERS):
            waiting += islice(item, most)
    return count + len(waiting)


def _shortly(value: object) -> str:
    """A few items of each level."""
    short = reprlib.Repr()
    short.maxlevel = 4
    short.maxlist = short.maxtuple = short.maxset = short.maxfrozenset = short.maxdict = FEW_ITEMS
    short.maxstring = short.maxother = 120
    if isinstance(value, dict):  # which would be sorted first
        value = dict(islice(value.items(), FEW_ITEMS + 1))
    elif isinstance(value, set | frozenset):
        value = set(islice(value, FEW_ITEMS + 1))
    return short.repr(value)


def _briefly(value: object) -> str:
    if isinstance(value, bool | int | float | complex | None):
        return repr(value)
    if isinstance(value, str) and len(value) <= 80:
        return repr(value)
    first = as_text(value).partition("\n")[0]
    kind = type(value).__name__
    return first if first.startswith(kind) and len(first) <= 80 else kind


def _found(name: str, namespace: Mapping[str, object]) -> object:
    try:
        return look_up(name, namespace)
    except LookupError as error:
        raise InvalidRequestError(_no_variable(name, namespace, error)) from None


def _no_variable(name: str, namespace: Mapping[str, object], error: LookupError) -> str:
    base = name.partition(".")[0].partition("[")[0]
    if base in namespace and base != name:
        reason = str(error) if "cannot be read" in str(error) else f"{base} has no {name[len(base) :]!r}"
        return f"{name!r} is nothing of this notebook: {reason}."
    known = own_names(namespace)
    close = get_close_matches(base, known, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Valid: {', '.join(known[:MOST_NAMES]) or 'none yet'}"
    if not close and len(known) > MOST_NAMES:
        hint += f" and {len(known) - MOST_NAMES:,} more"
    return f"{name!r} is no variable of this notebook. {hint}{'' if close else '.'}"
