"""What a subcommand of ``%farm`` works with: the shell, the default farm, and the models that are known."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from farm_notebook.notebook.news import News

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from farm_notebook.farm import Farm
    from farm_notebook.notebook.known import KnownModels
    from farm_notebook.types import ModelRef, ModelStatus

__all__ = ["Session"]


class Session:
    """One shell's.

    Args:
        shell: Where the subcommands are typed.
        known: Names of models, for completion.
        news: What the user was told of models already.
    """

    def __init__(self, shell: InteractiveShell, known: KnownModels, news: News | None = None) -> None:
        self.shell = shell
        self.known = known
        self.news = news or News()

    @property
    def is_notebook(self) -> bool:
        """Whether outputs are a notebook's, and not a terminal's."""
        return hasattr(self.shell, "kernel")

    @property
    def farm(self) -> Farm:
        """The default farm, made at first use."""
        from farm_notebook.farm import default_farm

        return default_farm()

    def ref(self, name: str) -> ModelRef:
        """The model behind a name.

        Raises:
            FarmError: There is none.
        """
        from farm_notebook.router import is_dynamic, resolve

        ref = resolve(name, self.farm.config)
        return self.farm.route(name).ref if is_dynamic(ref) else ref

    def status(self, ref: ModelRef) -> ModelStatus | None:
        """What a model does now; the newest where it is in memory in several ways, ``None`` where in none."""
        found = [status for status in self.farm.models.loaded() if status.ref == ref]
        return max(found, key=lambda status: status.generation or 0, default=None)

    def what_is_left(self, ref: ModelRef) -> str:
        """That a model answers as it did, after what was to change it did not; empty where it does not."""
        status = self.status(ref)
        if status is None or status.state not in ("ready", "reloading"):
            return ""
        generation = "" if status.generation is None else f" (generation {status.generation})"
        return f"{ref} answers as before{generation}."

    def tell_doubt(self, name: str) -> None:
        """Print why a request with a model's name may fail, if anything speaks for that."""
        from farm_notebook import loop
        from farm_notebook.router import doubt

        if told := loop.run_blocking(doubt(name, self.farm.config, self.farm.core.list_models)):
            print(f"Careful: {told}", file=sys.stderr)
