"""The switch that keeps tests from asking for real: a provider that would, or that loads models, is not had.

It is a variable of the environment, and no setting of a farm: it holds for all farms of a process, with
whatever settings they were made, and for the kernels and programs that it starts.
"""

from __future__ import annotations

import os

from farm_notebook.config.variables import BLOCK_REQUESTS
from farm_notebook.errors import RequestBlockedError
from farm_notebook.providers.base import AIProvider

__all__ = ["check_request"]


def check_request(provider: AIProvider) -> None:
    """See that a provider may be asked.

    Raises:
        RequestBlockedError: Requests are blocked, and it would ask someone or load a model.
    """
    if provider.is_real and os.environ.get(BLOCK_REQUESTS):
        raise RequestBlockedError(
            f"{provider.name!r} was to be asked for real, which is blocked here ({BLOCK_REQUESTS} is set). A "
            "test that is to do so takes the mark `@pytest.mark.farm_real`; others take a fixture, "
            "`farm_replay` for recorded answers or `scripted_farm` for those that they say themselves."
        )
