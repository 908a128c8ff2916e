"""``farm models`` and ``farm pull``: which models there are, and bringing one here."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from typing import Any

from rich.filesize import decimal
from rich.table import Table

from farm_notebook.cli.terminal import ProgressLine, console, emit, emit_json
from farm_notebook.farm import Farm
from farm_notebook.types import ModelInfo

__all__ = ["list_models", "pull"]

UNKNOWN = "-"


def list_models(*, as_json: bool) -> None:
    """Write the models of every provider to stdout.

    Args:
        as_json: A JSON array of all that is known of each, rather than a table.
    """
    infos = Farm().list_models()
    if as_json:
        emit_json([_as_json(info) for info in infos])
        return
    out = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "size", "context", "state", "licence"):
        table.add_column(column, no_wrap=True, justify="right" if column in ("size", "context") else "left")
    for info in infos:
        table.add_row(*_row(info))
    if not out.is_terminal:
        out.width = 1000  # a reader that is no terminal has none; what does not fit into a terminal's is cut
    out.print(table, soft_wrap=False)


def pull(name: str) -> None:
    """Fetch a model's files, without loading it, and say where they are.

    Args:
        name: As in ``router.look_up``. The path of a local file is here already.

    Raises:
        ModelNotFoundError: No such model.
        FetchError: It could not be fetched.
    """
    farm = Farm()
    ref = farm.route(name).ref
    verb = "is already here"
    with closing(farm.pull(str(ref))) as pulling, ProgressLine() as progress:
        for event in pulling:
            verb = "fetched"
            progress.show(event)
    info = next((info for info in farm.list_models() if info.ref == ref), ModelInfo(ref))
    size = f" ({decimal(info.size_bytes)})" if info.size_bytes is not None else ""
    emit(f"{ref} {verb}{size}{f': {info.location}' if info.location else ''}", end="\n")


def _row(info: ModelInfo) -> tuple[str, ...]:
    return (
        str(info.ref),
        UNKNOWN if info.size_bytes is None else decimal(info.size_bytes),
        UNKNOWN if info.context_tokens is None else f"{info.context_tokens:,}",
        "loaded" if info.loaded else "fetched" if info.available else "not fetched",
        info.license or UNKNOWN,
    )


def _as_json(info: ModelInfo) -> dict[str, Any]:
    capabilities = None if info.capabilities is None else sorted(info.capabilities)
    return dataclasses.asdict(info) | {"ref": str(info.ref), "capabilities": capabilities}
