"""What ``--dry-run`` shows: all that a request would send, and whom it would go to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from farm_notebook.notebook.interpolation import Filled
from farm_notebook.router import RouteDecision
from farm_notebook.types import ChatRequest

__all__ = ["describe_request"]


def describe_request(
    request: ChatRequest,
    filled: Filled,
    decision: RouteDecision,
    options: object,
    *,
    note: str = "",
) -> str:
    """What a request would send, to read: model, route, parameters, and every message in full.

    Args:
        request: What would be sent.
        filled: Which fields of the prompt were filled.
        decision: Who would answer, and why.
        options: Of the line, as attributes; they are stronger than what an alias says.
        note: What is told of the notebook, in a line.
    """
    _, *facts = str(replace(decision, parameters={})).splitlines()
    parameters = _listed(request.parameters())
    lines = [
        f"Would go to {decision.ref}; nothing was sent.",
        *facts,
        f"parameters: {parameters or 'the defaults'}",
    ]
    of_alias = {
        name: value
        for name, value in decision.parameters.items()
        if getattr(options, name, None) in (None, ())
    }
    if of_alias:
        lines.append(f"from the alias: {_listed(of_alias)}")
    if request.sample is not None:
        lines.append(f"sample: {request.sample}")
    if filled.filled:
        lines.append(f"filled: {', '.join(f'{{{name}}}' for name in filled.filled)}")
    if filled.left:
        lines.append(f"left as written: {', '.join(f'{{{name}}}' for name in filled.left)}")
    if note:
        lines.append(note)
    for message in request.messages:
        lines += [f"--- {message.role}", *map(repr, message.images), message.content]
    return "\n".join(lines)


def _listed(parameters: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in parameters.items())
