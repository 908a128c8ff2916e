"""The public names are the ones written here, and every error stands in the tree that is drawn of them."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

import farm_notebook
from farm_notebook import errors

PUBLIC = [
    "AIProvider",
    "AsyncFarm",
    "ChatMessage",
    "ChatPanel",
    "ChatRequest",
    "Dashboard",
    "Embeddings",
    "Farm",
    "FarmConfig",
    "FarmError",
    "GPUPanel",
    "HealthPanel",
    "Image",
    "ModelInfo",
    "ModelPicker",
    "ModelRef",
    "ProviderStatus",
    "Reply",
    "Timings",
    "Tool",
    "ToolCall",
    "Usage",
    "UsagePanel",
    "chat",
    "chat_structured",
    "compare",
    "embed",
    "errors",
    "generate",
    "gpu",
    "health",
    "history",
    "list_models",
    "models",
    "recorded",
    "register_provider",
    "route",
    "run_tools",
    "similar",
    "stream",
    "types",
    "usage",
]

ROOT = Path(farm_notebook.__file__).parent
SCRIPTS = {"farm_notebook.providers.llamacpp.child"}  # run by path in a child process, imported by nobody


def public_modules() -> list[str]:
    """Modules with no underscore in their path, packages that only hold a docstring left out."""
    names = []
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT.parent).with_suffix("")
        parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
        body = ast.parse(path.read_text("utf-8")).body
        is_bare = relative.name == "__init__" and all(isinstance(node, ast.Expr) for node in body)
        name = ".".join(parts)
        if not is_bare and name not in SCRIPTS and not any(part.startswith("_") for part in parts):
            names.append(name)
    return names


EXCEPTION_CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == errors.__name__
]


def test_the_public_names_are_these() -> None:
    assert farm_notebook.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_resolves_and_is_listed(name: str) -> None:
    assert getattr(farm_notebook, name) is not None
    assert name in dir(farm_notebook)


def test_no_module_takes_the_place_of_a_call() -> None:
    names = public_modules()
    for name in names:
        import_module(name)
    calls = [name for name in PUBLIC if callable(getattr(farm_notebook, name))]
    assert {"chat", "embed", "generate", "health", "list_models", "route", "stream"} <= set(calls)


def test_a_public_class_is_the_one_of_its_home() -> None:
    from farm_notebook.farm import Farm
    from farm_notebook.providers.base import AIProvider
    from farm_notebook.types import ModelRef, Tool

    assert farm_notebook.AIProvider is AIProvider
    assert farm_notebook.Farm is Farm
    assert farm_notebook.ModelRef is ModelRef
    assert farm_notebook.Tool is Tool


def test_an_unknown_name_is_an_attribute_error_that_quotes_it() -> None:
    with pytest.raises(AttributeError, match="'farm_notebook' has no attribute 'chatt'"):
        farm_notebook.chatt  # noqa: B018 - looking it up is the test


@pytest.mark.parametrize("name", public_modules())
def test_a_public_module_lists_its_names_and_they_exist(name: str) -> None:
    module = import_module(name)
    assert hasattr(module, "__all__"), f"{name} has no __all__"
    assert len(set(module.__all__)) == len(module.__all__)
    missing = [public for public in module.__all__ if not hasattr(module, public)]
    assert not missing


def test_every_public_module_is_looked_at() -> None:
    assert {"farm_notebook", "farm_notebook.farm", "farm_notebook.providers.base"} <= set(public_modules())


def drawn_tree(docstring: str) -> dict[str, tuple[str | None, str | None]]:
    """Each name drawn with its parent in the tree and the builtin beside it in parentheses."""
    drawn: dict[str, tuple[str | None, str | None]] = {}
    path: list[str] = []
    for line in docstring.splitlines():
        match = re.match(r" {4}((?:[│ ] {3})*(?:[├└]── )?)(\w+(?:Error|Reply))\b(?: \((\w+)\))?", line)
        if match:
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            drawn[match[2]] = (path[depth - 1] if depth else None, match[3])
    return drawn


TREE = drawn_tree(errors.__doc__ or "")


@pytest.mark.parametrize("error", EXCEPTION_CLASSES, ids=lambda error: error.__name__)
def test_an_error_is_drawn_where_it_stands(error: type[BaseException]) -> None:
    assert issubclass(error, errors.FarmError)
    assert error.__name__ in errors.__all__
    assert error.__name__ in TREE, f"{error.__name__} is not drawn in the docstring of errors.py"
    parent, builtin = TREE[error.__name__]
    bases = [base.__name__ for base in error.__bases__]
    assert bases == [name for name in (parent or "Exception", builtin) if name]


def test_nothing_is_drawn_that_does_not_exist() -> None:
    assert TREE.keys() == {error.__name__ for error in EXCEPTION_CLASSES}


@pytest.mark.parametrize("error", EXCEPTION_CLASSES, ids=lambda error: error.__name__)
def test_an_error_is_documented(error: type[BaseException]) -> None:
    assert error.__dict__.get("__doc__"), f"{error.__name__} has no docstring of its own"


def test_the_tree_reader_sees_parents_and_builtins() -> None:
    tree = "x\n\n    AError\n    ├── BError (ValueError)    words\n    │   └── CError\n    └── DReply\n"
    assert drawn_tree(tree) == {
        "AError": (None, None),
        "BError": ("AError", "ValueError"),
        "CError": ("BError", None),
        "DReply": ("AError", None),
    }
