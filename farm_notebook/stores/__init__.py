"""Where answers are kept: opaque values by key, on this machine. What they mean is for others to know."""

from __future__ import annotations

from farm_notebook.stores.base import Store, StoreStats

__all__ = ["Store", "StoreStats"]
