"""Takes a seed that only the settings name from a request whose provider honours none.

A seed that a caller asked for is refused by such a provider. One for all requests is for those that take one;
a model that stands in for another may be of a provider that does not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from farm_notebook.pipeline import Handler, Middleware, compose
from farm_notebook.types import ChatRequest, Event

__all__ = ["default_seed"]


def default_seed(seed: int | None, takes_seed: Callable[[str], bool]) -> Middleware:
    """Ask without that seed who does not take one.

    Args:
        seed: Of the settings; without one a request passes untouched.
        takes_seed: Whether a provider of that name does.
    """
    if seed is None:
        return compose()

    def wrap(handler: Handler) -> Handler:
        def asked(request: ChatRequest) -> AsyncGenerator[Event, None]:
            if request.seed == seed and not takes_seed(request.ref.provider):
                request = replace(request, seed=None)
            return handler(request)

        return asked

    return wrap
