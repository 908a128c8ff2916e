"""``%farm panel``: what there is to look at and to click on, as the cell's value."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from farm_notebook.errors import MissingExtraError
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

__all__ = ["PANELS", "add_arguments", "run"]

PANELS = {
    "chat": "ChatPanel",
    "models": "ModelPicker",
    "gpu": "GPUPanel",
    "health": "HealthPanel",
    "usage": "UsagePanel",
    "dashboard": "Dashboard",
}
AS_TEXT = {
    "chat": "`%farm_chat` asks from here, and `farm chat` outside of Python.",
    "dashboard": "`%farm models`, `%farm loaded`, `%farm health` and `%farm usage` tell the same.",
}
INSTALL = 'pip install "farm-notebook[widgets]"'


def add_arguments(parser: LineParser) -> None:
    parser.add_word("panel", tuple(PANELS), help="which one")


def run(session: Session, arguments: argparse.Namespace) -> object:
    """Make it; where there is no page to show it in, say what tells the same."""
    if not session.is_notebook:
        as_text = AS_TEXT.get(arguments.panel, f"`%farm {arguments.panel}` tells the same.")
        print(f"A terminal shows no panels. {as_text}")
        return None
    package: Any = sys.modules["farm_notebook"]  # its public names; what is behind them stands above
    try:
        return getattr(package, PANELS[arguments.panel])()
    except MissingExtraError:
        raise
    except ImportError as error:
        raise MissingExtraError(f"Panels need packages that are missing ({error}). Run: {INSTALL}") from None
