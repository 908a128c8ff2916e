"""Under nbval, skips the notebooks that need something which is not installed here."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

NEEDS = {"hot_reload.ipynb": {"torch": "huggingface", "peft": "huggingface", "matplotlib": "test"}}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cells of a notebook that cannot run, with the extra that is missing."""
    for item in items:
        for module, extra in NEEDS.get(item.path.name, {}).items():
            if find_spec(module) is None:
                item.add_marker(pytest.mark.skip(reason=f"the extra {extra} is not installed: no {module}"))
