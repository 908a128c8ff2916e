"""``farm models`` and ``farm pull``: which models there are, and bringing one here."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from rich.filesize import decimal
from rich.table import Table

from farm_notebook import loop
from farm_notebook.cli.terminal import ProgressLine, console, emit, emit_json
from farm_notebook.config import load_config
from farm_notebook.farm import Farm
from farm_notebook.models.catalog import lookup
from farm_notebook.models.fetch import fetch, is_present, local_path
from farm_notebook.router import resolve
from farm_notebook.types import LoadProgress, ModelInfo

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
    # A reader that is no terminal has no width; what does not fit into a terminal's may be cut.
    out.print(table, soft_wrap=False, width=None if out.is_terminal else 1000)


def pull(name: str) -> None:
    """Fetch a model's file, without loading it, and say where it is.

    Args:
        name: A model of the catalogue, as in ``router.resolve``. A path to a local file is here already.

    Raises:
        ModelNotFoundError: No such model.
        FetchError: It could not be fetched.
    """
    config = load_config()
    ref = resolve(name, config)
    if ref.model.endswith(".gguf") and Path(ref.model).expanduser().is_file():
        emit(f"{ref} is a local file already: {Path(ref.model).expanduser().resolve()}", end="\n")
        return
    model = lookup(ref.model)
    path = local_path(model, config)
    if is_present(model, config):
        emit(f"{ref} is already here ({decimal(model.size_bytes)}): {path}", end="\n")
        return
    fetching = cast(Generator[LoadProgress, None, None], loop.iterate_blocking(fetch(model, config)))
    with closing(fetching), ProgressLine() as progress:
        for event in fetching:
            progress.show(event)
    emit(f"{ref} fetched ({decimal(model.size_bytes)}): {path}", end="\n")


def _row(info: ModelInfo) -> tuple[str, ...]:
    return (
        str(info.ref),
        UNKNOWN if info.size_bytes is None else decimal(info.size_bytes),
        UNKNOWN if info.context_tokens is None else f"{info.context_tokens:,}",
        "loaded" if info.loaded else "fetched" if info.available else "not fetched",
        info.license or UNKNOWN,
    )


def _as_json(info: ModelInfo) -> dict[str, Any]:
    return dataclasses.asdict(info) | {"ref": str(info.ref)}
