"""Takes secrets out of what a notebook's cells show, as they are taken out of its cassette.

What a server repeats of a key would else be in the notebook, and a replay would show something else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from farm_notebook.cassettes.scrub import Scrub

__all__ = ["take_out_secrets"]

# In these whatever looks like a key is taken for one; in others, which may hold pictures, only what is known.
_WORDS = ("text/plain", "text/markdown")


def take_out_secrets(notebook: Any, scrub: Scrub) -> None:
    """Change a notebook's outputs in place.

    Args:
        notebook: As nbformat has it.
        scrub: Says what a secret is.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            for part in ("text", "evalue", "traceback"):
                if part in output:
                    output[part] = _changed(output[part], scrub.text)
            for kind, value in output.get("data", {}).items():
                output["data"][kind] = _changed(value, scrub.text if kind in _WORDS else scrub.known)
            if "metadata" in output:
                output["metadata"] = _changed(output["metadata"], scrub.known)


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """A value of JSON, its texts changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return type(value)({name: _changed(found, change) for name, found in value.items()})
    if isinstance(value, list):
        return [_changed(found, change) for found in value]
    return value
