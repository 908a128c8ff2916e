"""What farms of equal settings share: providers, with their connections and loaded models, and the policies.

Everything in it lives on the farm's event loop. A pool is made with the first farm of its settings and closed
when the interpreter exits, or by ``aclose``, after which it makes its providers anew.
"""

from __future__ import annotations

from farm_notebook.pool.pool import Pool, shared_pool
from farm_notebook.pool.providers import ProviderPool

__all__ = ["Pool", "ProviderPool", "shared_pool"]
