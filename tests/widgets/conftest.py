"""A page for panels, and the statement that nothing of them is left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .pages import Page


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, no_leaks: None) -> Iterator[Page]:
    """A page that every widget of the test sends to; tasks that are left after the test fail it."""
    from ipywidgets import Widget  # type: ignore[import-untyped]

    page = Page(monkeypatch)
    yield page
    Widget.close_all()
