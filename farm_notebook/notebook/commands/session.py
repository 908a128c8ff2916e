"""What a subcommand of ``%farm`` works with: the shell, the default farm, and the models that are known."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from farm_notebook.farm import Farm
    from farm_notebook.notebook.known import KnownModels

__all__ = ["Session"]


class Session:
    """One shell's.

    Args:
        shell: Where the subcommands are typed.
        known: Names of models, for completion.
    """

    def __init__(self, shell: InteractiveShell, known: KnownModels) -> None:
        self.shell = shell
        self.known = known

    @property
    def is_notebook(self) -> bool:
        """Whether outputs are a notebook's, and not a terminal's."""
        return hasattr(self.shell, "kernel")

    @property
    def farm(self) -> Farm:
        """The default farm, made at first use."""
        from farm_notebook.farm import default_farm

        return default_farm()

    def tell_doubt(self, name: str) -> None:
        """Print why a request with a model's name may fail, if anything speaks for that."""
        from farm_notebook import loop
        from farm_notebook.router import doubt

        if told := loop.run_blocking(doubt(name, self.farm.config, self.farm.core.list_models)):
            print(f"Careful: {told}", file=sys.stderr)
