"""Errors as JSON and back: a failure that was recorded is raised again as what it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farm_notebook import errors
from farm_notebook.errors import FarmError, NoTargetAnsweredError

__all__ = ["read_failure", "write_failure"]

_KINDS: dict[str, type[FarmError]] = {
    name: kind
    for name in errors.__all__
    if isinstance(kind := getattr(errors, name), type) and issubclass(kind, FarmError)
}
# What an error cannot be made without; the rest is set afterwards.
_NEEDED = ("budget", "text", "timer")


def write_failure(error: FarmError) -> dict[str, Any]:
    """An error as JSON values; a provider's own kind of error as the kind of ours that it is."""
    kind = next(kind for kind in type(error).__mro__ if kind in _KINDS.values())
    told: dict[str, Any] = {"type": kind.__name__, "message": _message(error)}
    fields = {
        name: value
        for name, value in vars(error).items()
        if _is_json(value) and (value != "" or name in _NEEDED)
    }
    if fields:
        told["fields"] = fields
    if isinstance(error, NoTargetAnsweredError):
        told["causes"] = [write_failure(cause) for cause in error.exceptions if isinstance(cause, FarmError)]
    return told


def read_failure(told: Mapping[str, Any]) -> FarmError:
    """The error that was written.

    Raises:
        ValueError: That is none.
    """
    try:
        kind, message, fields = _KINDS[told["type"]], told["message"], told.get("fields", {})
        if issubclass(kind, NoTargetAnsweredError):
            error: FarmError = kind(message, [read_failure(cause) for cause in told["causes"]])
        else:
            error = kind(message, **{name: fields[name] for name in _NEEDED if name in fields})
        vars(error).update(fields)
    except (LookupError, TypeError, AttributeError) as problem:
        raise ValueError(f"{told!r:.80} is no error ({type(problem).__name__}: {problem})") from None
    return error


def _message(error: FarmError) -> str:
    return str(error.args[0]) if error.args else str(error)


def _is_json(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return isinstance(value, str | int | float | bool)
