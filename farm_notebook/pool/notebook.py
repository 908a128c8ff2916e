"""Which notebook the code that runs here belongs to."""

from __future__ import annotations

import os
import sys

__all__ = ["notebook_name"]


def notebook_name() -> str | None:
    """The path of the notebook, as its front end tells it; ``None`` in a script, a terminal, or untold.

    Jupyter's server starts each kernel with ``JPY_SESSION_NAME``; VS Code puts a variable into the namespace.
    Source: https://jupyter-server.readthedocs.io/en/latest/other/changelog.html (2.0, session names)
    """
    if name := os.environ.get("JPY_SESSION_NAME"):
        return name
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive else None
    name = shell.user_ns.get("__vsc_ipynb_file__") if shell is not None else None
    return name if isinstance(name, str) else None
