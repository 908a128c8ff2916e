"""Which variables of a notebook a text speaks of, in prose or in code; and what was imported."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping, Set
from types import BuiltinFunctionType, FunctionType, ModuleType

__all__ = ["imports_of", "names_in_code", "names_in_prose"]

_WORD = re.compile(r"(?<![\w.])[^\W\d]\w*")
_MARKED = re.compile(r"`([^`\n]+)`|\{([^{}\n]+)\}")
# Words that are names of variables less often than they are English.
_ENGLISH = re.compile(
    r"[aAiI]|all|any?|are|be|by|can|do|each|how|it|max|min|no|of|on|one|or|so|sum|that|the|this|to|up|we|with|you"
)
MOST_NAMES = 30


def names_in_prose(
    text: str, namespace: Mapping[str, object], *, hidden: Set[str] = frozenset()
) -> list[str]:
    """The variables that a prompt mentions, in their order.

    A word that English has too counts only between backquotes or braces.

    Args:
        text: The prompt.
        namespace: The notebook's variables.
        hidden: Names in it that are not the user's.
    """
    marked = {word for match in _MARKED.finditer(text) for word in _WORD.findall(match[1] or match[2])}
    words = [word for word in _WORD.findall(text) if word in marked or not _ENGLISH.fullmatch(word)]
    return _known(words, namespace, hidden)


def names_in_code(
    source: str, namespace: Mapping[str, object], *, hidden: Set[str] = frozenset()
) -> list[str]:
    """The variables that code reads or writes, in their order; of code that is none, those that it mentions.

    Args:
        source: Python as IPython runs it, magics rewritten.
        namespace: The notebook's variables.
        hidden: Names in it that are not the user's.
    """
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _known(_WORD.findall(source), namespace, hidden)
    found = [node for node in nodes if isinstance(node, ast.Name)]
    found.sort(key=lambda node: (node.lineno, node.col_offset))
    return _known([node.id for node in found], namespace, hidden)


def imports_of(namespace: Mapping[str, object], *, hidden: Set[str] = frozenset()) -> list[str]:
    """The lines that import what a notebook has imported, modules first, with their versions.

    Args:
        namespace: The notebook's variables.
        hidden: Names in it that are not the user's.
    """
    modules: list[str] = []
    others: dict[str, list[str]] = {}
    for name, value in list(namespace.items()):
        if name in hidden or name.startswith("_"):
            continue
        if isinstance(value, ModuleType):
            version = vars(value).get("__version__")  # and nothing that a module makes when it is asked
            renamed = "" if name == value.__name__ else f" as {name}"
            remark = f"  # {version}" if isinstance(version, str) else ""
            modules.append(f"import {value.__name__}{renamed}{remark}")
        elif isinstance(value, type | FunctionType | BuiltinFunctionType) and value.__name__ == name:
            others.setdefault(value.__module__ or "", []).append(name)
    lines = [
        f"from {module} import {', '.join(names)}"
        for module, names in others.items()
        if module not in ("", "__main__", "builtins")
    ]
    return [*modules, *lines][:MOST_NAMES]


def _known(words: list[str], namespace: Mapping[str, object], hidden: Set[str]) -> list[str]:
    found = [
        word
        for word in dict.fromkeys(words)
        if word in namespace
        and word not in hidden
        and not word.startswith("_")
        and not keyword.iskeyword(word)
    ]
    found.sort(key=lambda word: isinstance(namespace[word], ModuleType))  # what is the user's own comes first
    return found[:MOST_NAMES]
