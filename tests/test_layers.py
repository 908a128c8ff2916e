"""Imports point strictly down; what a floor is stands in ``FLOORS``, lowest first."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import farm_notebook

PACKAGE = "farm_notebook"
ROOT = Path(farm_notebook.__file__).parent

# A room is a module or a folder directly below the package. A module may import from its own room and
# from every floor below its own, but not from another room of its floor, nor from above.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("types", "sanitize"),
    ("config", "images", "recording", "schemas", "tools"),
    ("devices", "holders", "reply", "weights"),
    ("lifecycle",),
    ("providers", "stores", "pipeline", "prices"),
    ("monitor", "reports", "router"),
    ("request",),
    ("loop",),
    ("cassettes", "pool"),
    ("farm",),
    ("models", "gpu", "progress", "threads"),
    ("batch", "notebook", "widgets", "server", "testing"),
    ("cli",),
    ("__init__",),
)

# Imports within one floor that are written down in docs/architecture.md: who, and from which room.
EXCEPTIONS = {
    ("pipeline", "stores"),
}

FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


@dataclass(frozen=True)
class Import:
    """One import of this package's own modules, both ends written without the package's name."""

    module: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{PACKAGE}.{self.module} (line {self.line}) imports {PACKAGE}.{self.target}"


def room_of(module: str) -> str:
    return module.partition(".")[0]


def broken_rule(found: Import) -> str | None:
    """The sentence that an import breaks, or ``None`` where it may stand."""
    source, target = room_of(found.module), room_of(found.target)
    for room in (source, target):
        if room not in FLOOR_OF:
            return f"{found}: the room {room!r} has no floor; give it one in FLOORS"
    if source == target or FLOOR_OF[source] > FLOOR_OF[target]:
        return None
    if any((found.module + ".").startswith(who + ".") and target == to for who, to in EXCEPTIONS):
        return None
    if FLOOR_OF[source] == FLOOR_OF[target]:
        return f"{found}: rooms on one floor ({', '.join(FLOORS[FLOOR_OF[source]])}) do not import each other"
    return f"{found}: imports point down only, and {target!r} stands above {source!r}"


def imports_of(module: str, source: str, *, is_package: bool = False) -> Iterator[Import]:
    """Every import of this package in a module, also in functions, but not below ``if TYPE_CHECKING``."""
    package = [PACKAGE, *module.split(".")] if module != "__init__" else [PACKAGE]
    for node in _runtime_nodes(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + is_package] if node.level else []
            base = ".".join((*parents, *([node.module] if node.module else [])))
            names = _of_the_top(node) if base == PACKAGE else [base]
        elif isinstance(node, ast.Call) and _is_import_module(node.func):
            names = [argument.value for argument in node.args[:1] if _is_text(argument)]  # type: ignore[attr-defined]
        for name in names:
            if name == PACKAGE:
                yield Import(module, "__init__", node.lineno)
            elif name.startswith(PACKAGE + "."):
                yield Import(module, name.removeprefix(PACKAGE + "."), node.lineno)


def _of_the_top(node: ast.ImportFrom) -> list[str]:
    """What ``from farm_notebook import ...`` reaches: rooms, or else the top's own lazy names.

    ``__version__`` is a plain constant of the top and free to all.
    """
    names = [alias.name for alias in node.names if alias.name != "__version__"]
    return [f"{PACKAGE}.{name}" if name in FLOOR_OF else PACKAGE for name in names]


def _runtime_nodes(tree: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for otherwise in node.orelse:
                yield otherwise
                yield from _runtime_nodes(otherwise)
            continue
        if isinstance(node, ast.stmt | ast.expr):
            yield node
        yield from _runtime_nodes(node)


def _is_import_module(function: ast.expr) -> bool:
    return ast.unparse(function) in ("import_module", "importlib.import_module")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def module_files() -> dict[str, Path]:
    """Each module below the package by its dotted name, the package's own ``__init__`` under that word."""
    files = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return files


FILES = module_files()


@pytest.mark.parametrize("module", sorted(FILES))
def test_a_modules_imports_point_down(module: str) -> None:
    path = FILES[module]
    found = imports_of(module, path.read_text("utf-8"), is_package=path.name == "__init__.py")
    broken = [rule for one in found if (rule := broken_rule(one))]
    assert not broken, "\n".join(broken)


def test_every_module_of_the_package_is_read() -> None:
    assert {"__init__", "errors", "farm", "providers", "providers.llamacpp.provider"} <= FILES.keys()


def rules_broken_by(module: str, source: str, *, is_package: bool = False) -> list[str]:
    found = imports_of(module, source, is_package=is_package)
    return [rule for one in found if (rule := broken_rule(one))]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("errors", "import farm_notebook.types"),
        ("errors", "from . import types"),
        ("types", "from farm_notebook.config import FarmConfig"),
        ("types", "from farm_notebook import sanitize"),
        ("config", "from farm_notebook.reply import Reply"),
        ("pipeline.meter", "from farm_notebook.providers import make_provider"),
        ("pipeline.meter", "from ..providers import make_provider"),
        ("providers.openai", "from farm_notebook.stores import sqlite"),
        ("pipeline_like", "from farm_notebook.stores import sqlite"),
        ("weights.fetch", "from farm_notebook.providers.llamacpp import provider"),
        ("stores.sqlite", "from farm_notebook.pipeline import cache"),
        ("router", "def f():\n    from farm_notebook.farm import Farm"),
        ("router", "class A:\n    def f(self):\n        if True:\n            import farm_notebook.loop"),
        ("loop", "try:\n    import farm_notebook.farm\nexcept ImportError:\n    pass"),
        ("farm", "import os, farm_notebook.notebook.magics as m"),
        ("farm", "from importlib import import_module\nimport_module('farm_notebook.cli')"),
        ("farm", "import farm_notebook"),
        ("farm", "from farm_notebook import Reply"),
        ("notebook.magics", "from farm_notebook.server import app"),
        ("widgets.panel", "from farm_notebook.notebook import display"),
        ("server", "import farm_notebook.cli"),
        ("router", "if TYPE_CHECKING:\n    import farm_notebook.types\nelse:\n    import farm_notebook.farm"),
        ("attic", "import farm_notebook.types"),
        ("farm", "import farm_notebook.attic"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    assert len(rules_broken_by(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("types", "import json\nfrom farm_notebook.errors import FarmError"),
        ("reply", "from farm_notebook.types import Event\nfrom farm_notebook.sanitize import safe_markdown"),
        (
            "pipeline.cache",
            "from farm_notebook.stores import sqlite\nfrom farm_notebook.pipeline import compose",
        ),
        ("providers.llamacpp.provider", "from farm_notebook.weights.fetch import fetch"),
        ("providers.huggingface", "from farm_notebook.weights import gpu"),
        ("request", "from farm_notebook import router, config"),
        (
            "router",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from farm_notebook.farm import Farm",
        ),
        ("router", "import typing\nif typing.TYPE_CHECKING:\n    import farm_notebook.cli"),
        ("cli", "from farm_notebook.server import app\nfrom farm_notebook.farm import Farm"),
        ("__init__", "from farm_notebook.notebook.extension import load"),
        ("farm", "import farm_notebookish.cli"),
    ],
)
def test_a_right_import_passes(module: str, source: str) -> None:
    assert rules_broken_by(module, source) == []


def test_a_relative_import_in_a_packages_init_starts_at_the_package() -> None:
    assert rules_broken_by("providers", "from .base import AIProvider", is_package=True) == []
    (rule,) = rules_broken_by("providers", "from ..farm import Farm", is_package=True)
    assert "farm_notebook.farm" in rule


def test_the_message_names_module_import_and_rule() -> None:
    (rule,) = rules_broken_by("router", "\nimport farm_notebook.farm")
    assert rule == (
        "farm_notebook.router (line 2) imports farm_notebook.farm: "
        "imports point down only, and 'farm' stands above 'router'"
    )
    (rule,) = rules_broken_by("widgets.panel", "import farm_notebook.server.app")
    assert rule == (
        "farm_notebook.widgets.panel (line 1) imports farm_notebook.server.app: rooms on one floor "
        "(batch, notebook, widgets, server, testing) do not import each other"
    )


def test_every_written_exception_is_one_the_floors_would_forbid() -> None:
    for who, to in EXCEPTIONS:
        assert FLOOR_OF[room_of(who)] == FLOOR_OF[to]


HEAVY = {"torch", "transformers", "openai", "matplotlib", "ipywidgets", "anywidget", "pandas"}
AT_FIRST_USE = {"pydantic", "httpx2", "IPython", "asyncio"}


def loaded_after(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after a statement."""
    program = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_after("import farm_notebook")
    assert "farm_notebook" in loaded
    assert not loaded & (HEAVY | AT_FIRST_USE)


def test_importing_the_farm_loads_nothing_heavy() -> None:
    loaded = loaded_after("import farm_notebook.farm")
    assert "pydantic" in loaded, "or this test sees nothing"
    assert not loaded & HEAVY


LOAD_EXTENSION = """
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
shell.run_line_magic("load_ext", "farm_notebook")
import sys
print(*{name.split(".")[1] for name in sys.modules if name.startswith("farm_notebook.")})
"""


def test_loading_the_extension_loads_of_the_package_its_own_room_and_little_else() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD_EXTENSION], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"errors", "notebook", "threads"}
