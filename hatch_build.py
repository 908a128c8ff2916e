"""Builds the page's side of the panels into every wheel and source distribution.

It is skipped for an editable install, where ``make widgets`` does it, and where it was built already, as in a
source distribution: so that an installation from either needs no Node.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = ["PanelsHook"]


class PanelsHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What an isolated build gets besides hatchling."""
        builder = _builder(self.root)
        has_all = builder.is_fresh(Path(self.root)) or builder.find_node() is not None
        return [] if has_all else [builder.NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the files are gathered."""
        if version != "editable":
            _builder(self.root).build(Path(self.root))


def _builder(root: str) -> ModuleType:
    path = Path(root) / "scripts" / "build_widgets.py"
    spec = importlib.util.spec_from_file_location("build_widgets", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
