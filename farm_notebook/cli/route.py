"""``farm route``: which model a name leads to now, and why."""

from __future__ import annotations

from typing import Any

from farm_notebook import loop
from farm_notebook.cli.terminal import emit, emit_json, note
from farm_notebook.farm import Farm
from farm_notebook.router import RouteDecision, doubt

__all__ = ["show"]


def show(name: str | None, *, as_json: bool) -> None:
    """Write the decision to stdout; nothing is sent to a model.

    Args:
        name: A model or alias; ``None`` is the default.
        as_json: One JSON object, rather than lines to read.

    Raises:
        FarmError: The name leads nowhere, as a request with it would.
    """
    farm = Farm()
    decision = farm.route(name)
    if name is not None and (told := loop.run_blocking(doubt(name, farm.config, farm.core.list_models))):
        note(f"warning: {told}", style="bold")
    if as_json:
        emit_json(_as_json(decision))
    else:
        emit(str(decision), end="\n")


def _as_json(decision: RouteDecision) -> dict[str, Any]:
    return {
        "name": decision.name or None,
        "model": str(decision.ref),
        "reasons": list(decision.reasons),
        "alternates": [str(ref) for ref in decision.alternates],
        "deployments": {str(ref): share for ref, share in decision.deployments.items()},
        "parameters": dict(decision.parameters),
        "skipped": {str(ref): reason for ref, reason in decision.skipped.items()},
    }
