"""The notebooks as pages: with what they show since they were saved, or executed on replay.

With ``gallery_replay``, which ``make docs`` sets, a notebook that has a cassette is executed as
``farm run --replay`` does it, and no model is asked. A cell that fails is warned of, which ends the build.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from logging import WARNING, getLogger
from pathlib import Path
from typing import Any

import nbformat
from sphinx.application import Sphinx
from sphinx.util import logging

from farm_notebook.cassettes import default_path
from farm_notebook.testing.executing import CellFailure, execute

__all__ = ["setup"]

_log = logging.getLogger(__name__)
IMPORT = re.compile(r"^\s*(?:import|from)\s+(\w+)", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, bool]:
    getLogger("traitlets").setLevel(WARNING)  # it tells of each notebook
    app.add_config_value("gallery_replay", default=False, rebuild="env", types=[bool])
    app.connect("source-read", _show_notebook)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _show_notebook(app: Sphinx, page: str, source: list[str]) -> None:
    if not page.startswith("gallery/"):
        return
    path = Path(app.env.doc2path(page)).resolve()
    cassette = default_path(path)
    notebook = nbformat.reads(source[0], as_version=4)
    if cassette.exists():
        app.env.note_dependency(str(cassette))
        if app.config.gallery_replay and _can_run(notebook, page):
            notebook = _replayed(notebook, path, cassette)
    notebook.cells.append(nbformat.v4.new_markdown_cell(_end(path, cassette), id="this-notebook"))
    source[0] = nbformat.writes(notebook)


def _replayed(notebook: Any, path: Path, cassette: Path) -> Any:
    environment = {
        "FARM_CASSETTE": "replay",
        "FARM_CASSETTE_FILE": str(cassette),
        "FARM_DISPLAY__LIVE": "false",
        "FARM_HISTORY__ENABLED": "false",
    }
    try:
        return execute(notebook, path, environment=environment)
    except CellFailure as failure:
        _log.warning("%s: %s", path.name, failure)
        return notebook


def _can_run(notebook: Any, page: str) -> bool:
    """Whether all that its cells import is installed; where not, the page has what was saved."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    missing = sorted(name for name in set(IMPORT.findall(code)) if find_spec(name) is None)
    if missing:
        _log.info("%s is shown as it was saved: %s is not installed", page, ", ".join(missing))
    return not missing


def _end(path: Path, cassette: Path) -> str:
    told = f"---\n\nThis page is the notebook {{download}}`{path.name}`"
    recorded = f", and {{download}}`{cassette.name}` is its [cassette](../docs/cassettes.md)"
    return f"{told}{recorded if cassette.exists() else ''}."
