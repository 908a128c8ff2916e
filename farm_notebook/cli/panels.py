"""Panels in a notebook that was executed with no page: what stays of them is their static output.

A page knows a panel only while its kernel runs. Without one it would say so in the place of each view, and
the state of all widgets, which is saved for it, tells nothing that the static output below does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["leave_static"]

_VIEW = "application/vnd.jupyter.widget-view+json"
_STATIC = 'class="farm-static '
_ID = re.compile(r'(?<=class="farm-static) farm-static-\w+')  # by which a page finds the panel


def leave_static(notebook: Any) -> None:
    """Take the views of panels out of a notebook, and the state of widgets where no view is left.

    The static output loses the panel's random id, so that two runs that show the same give the same file.

    Args:
        notebook: As nbformat has it.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            following = [*cell.outputs[1:], {}]
            cell.outputs = [
                output
                for output, below in zip(cell.outputs, following, strict=False)
                if not (_VIEW in output.get("data", ()) and _is_static(below))
            ]
            for output in filter(_is_static, cell.outputs):
                output.data["text/html"] = _ID.sub("", "".join(output.data["text/html"]))
    if not any(
        _VIEW in output.get("data", ()) for cell in notebook.cells for output in cell.get("outputs", ())
    ):
        notebook.metadata.pop("widgets", None)


def _is_static(output: Mapping[str, Any]) -> bool:
    return _STATIC in "".join(output.get("data", {}).get("text/html", ""))
