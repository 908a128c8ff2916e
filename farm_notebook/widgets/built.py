"""The page's side of the panels as it was built: scripts and stylesheets in the folder ``static``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from farm_notebook.errors import ConfigError

__all__ = ["FOLDER", "LOADER", "built"]

FOLDER = Path(__file__).parent / "static"
LOADER = "loader"  # the entry that has a panel's script sent by the kernel


@lru_cache(maxsize=8)
def _read(script: Path, changed_at: float) -> tuple[str, str]:
    stylesheet = script.with_suffix(".css")
    return script.read_text("utf-8"), stylesheet.read_text("utf-8") if script.stem != LOADER else ""


def built(name: str, *, folder: Path = FOLDER) -> tuple[str, str]:
    """The script and the stylesheet of a panel; the loader has no stylesheet.

    Args:
        name: Of the entry in ``js/src/entries``.
        folder: Where they were built to.

    Raises:
        ConfigError: They are not there, and how they are made.
    """
    script = folder / f"{name}.js"
    try:
        return _read(script, script.stat().st_mtime)
    except OSError as error:
        raise ConfigError(
            f"The panel {name!r} cannot be shown, as its page's side is not built ({error}). In a clone of "
            "the project run `make widgets`; an installed package has it, so install it again."
        ) from error
