"""Notebooks as tests: executing one, and telling what its cells show now from what they showed before."""

from __future__ import annotations

__all__: list[str] = []
