"""Notebooks as tests: executing them, telling what their cells show now from what they showed before, and the
pytest plugin.
"""

from __future__ import annotations

__all__: list[str] = []
