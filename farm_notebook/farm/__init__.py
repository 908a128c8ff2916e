"""The farm: every model behind one set of calls. ``AsyncFarm`` is the core, ``Farm`` the same, blocking.

A farm is a cheap handle. Farms with equal settings share providers, and so connections and loaded
models; these live on the farm's own event loop, so that any thread and any other loop may call.
"""

from __future__ import annotations

from farm_notebook.farm.blocking import Farm, default_farm
from farm_notebook.farm.core import AsyncFarm

__all__ = ["AsyncFarm", "Farm", "default_farm"]
