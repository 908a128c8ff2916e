"""What the magics of one shell work with: its names, the default farm, and what the user was told so far."""

from __future__ import annotations

import sys
from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from farm_notebook.notebook.defaults import CellDefaults
from farm_notebook.notebook.interpolation import interpolate
from farm_notebook.notebook.known import KnownModels
from farm_notebook.notebook.news import News
from farm_notebook.notebook.printed import PrintedTexts
from farm_notebook.notebook.tracebacks import Errors, describe_error
from farm_notebook.threads import default_threads

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from farm_notebook.farm import Farm
    from farm_notebook.types import ChatMessage, ModelRef, ModelStatus

__all__ = ["Session"]


class Session:
    """One shell's.

    Args:
        shell: Where the magics are typed.
        known: Names of models, for completion.
        news: What the user was told of models already.
        defaults: What holds where a line says nothing.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        known: KnownModels | None = None,
        news: News | None = None,
        defaults: CellDefaults | None = None,
    ) -> None:
        self.shell = shell
        self.defaults = defaults or CellDefaults()
        self.known = known or KnownModels()
        self.news = news or News()
        self.printed = PrintedTexts(shell)
        self.threads = default_threads()
        self._local: Mapping[str, object] = {}

    @contextmanager
    def scope(self, local: Mapping[str, object] | None) -> Iterator[None]:
        """Have the variables of the function that a magic stands in known meanwhile.

        Args:
            local: By name; those of the notebook where it stands in none.
        """
        self._local = local or {}
        try:
            yield
        finally:
            self._local = {}

    @property
    def is_notebook(self) -> bool:
        """Whether outputs are a notebook's, and not a terminal's."""
        return hasattr(self.shell, "kernel")

    @property
    def farm(self) -> Farm:
        """The default farm, made at first use."""
        from farm_notebook.farm import default_farm

        return default_farm()

    def namespace(self) -> Mapping[str, object]:
        """The notebook's variables, with what cells were typed and the last error under the known names."""
        history = self.shell.history_manager
        special: dict[str, object] = {
            "In": history.input_hist_raw if history else [],
            "Out": self.shell.user_ns.get("_oh", {}),
        }
        told = getattr(history, "exceptions", {})  # IPython 9.1 and newer
        if (error := getattr(sys, "last_value", None)) is not None or told:
            special["Err"] = Errors(describe_error(error), told)
        return ChainMap(special, self._local, self.shell.user_ns)  # type: ignore[arg-type]  # none is written to

    def fill(self, text: str) -> str:
        """A text with its ``{names}`` filled from the notebook."""
        return interpolate(text, self.namespace()).text

    def history(self, thread: str) -> tuple[ChatMessage, ...]:
        """What a request sends of a conversation."""
        messages, most = self.threads.history(thread), self.defaults.max_history
        return messages if most is None else messages[max(0, len(messages) - 2 * most) :]

    def is_model(self, word: str) -> bool:
        """Whether a word looks like a model's name, or is one."""
        from farm_notebook.router.names import is_known

        return bool({":", "/"} & set(word)) or is_known(word, self.farm.config)

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

    def took_s(self, call: str, measured_s: float) -> float:
        """How long a call took that has just ended; replayed, what is recorded of it."""
        return self.farm.core.tape.took_s(call, measured_s)

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
