"""Blocks real requests for a whole run of pytest, but for tests with the mark ``farm_real``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from farm_notebook.config.variables import BLOCK_REQUESTS
from farm_notebook.testing.environment import ALLOWED, environment

__all__ = ["REAL", "Blocking"]

REAL = "farm_real"


class Blocking:
    """The hooks.

    Args:
        config: Of the run, after which nothing is blocked.
    """

    def __init__(self, config: pytest.Config) -> None:
        stack = ExitStack()
        stack.enter_context(environment({BLOCK_REQUESTS: "1"}))
        config.add_cleanup(stack.close)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Let a test ask that is marked; its fixtures too."""
        if item.get_closest_marker(REAL) is None:
            return (yield)
        with environment(ALLOWED):
            return (yield)
