"""Under nbval, skips the notebooks that need something which is not installed here."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

REAL = {"hot_reload.ipynb": {"torch": "huggingface", "peft": "huggingface"}}
"""What models need that are asked for real; a replay does without."""

ALWAYS = {
    "compare.ipynb": {"matplotlib": "test", "pandas": "test"},
    "dataframe_batch.ipynb": {"pandas": "test"},
    "embeddings_search.ipynb": {"matplotlib": "test", "pandas": "test"},
    "hot_reload.ipynb": {"matplotlib": "test"},
    "structured_output_and_tools.ipynb": {"pandas": "test"},
    "teaching.ipynb": {"matplotlib": "test"},
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the cells of a notebook that cannot run, with the extra that is missing."""
    kinds = [ALWAYS] if is_replaying(config) else [ALWAYS, REAL]
    for item in items:
        for module, extra in [need for kind in kinds for need in kind.get(item.path.name, {}).items()]:
            if find_spec(module) is None:
                item.add_marker(pytest.mark.skip(reason=f"the extra {extra} is not installed: no {module}"))


def is_replaying(config: pytest.Config) -> bool:
    """Whether the option or the environment has calls replayed."""
    is_asked = config.getoption("farm_mode", None) == "replay" or config.getoption("farm_strict", False)
    return bool(is_asked) or os.environ.get("FARM_CASSETTE") == "replay"
