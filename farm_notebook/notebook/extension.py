"""Adds the magics to a shell, and takes everything away again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm_notebook.notebook.cells import CELL_MAGICS
from farm_notebook.notebook.completion import Completer
from farm_notebook.notebook.groups import GroupDisplay
from farm_notebook.notebook.keys import KeyWatch
from farm_notebook.notebook.magics import FarmMagics
from farm_notebook.notebook.transformer import CellTransformer

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load", "unload"]

_REPLY = ("farm_notebook.reply", "Reply")
_loaded: dict[int, _Extension] = {}


class _Extension:
    """What was added to one shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell: Any = shell
        self._magics = FarmMagics(shell)
        self._transformer = CellTransformer(shell)
        self._completer = Completer(self._magics.session.known, lambda: shell.user_ns)
        self._keys = KeyWatch()
        self._groups = GroupDisplay(shell)

    def load(self) -> None:
        shell, transformer = self._shell, self._transformer
        shell.register_magics(self._magics)
        shell.input_transformers_cleanup.append(transformer)
        shell.events.register("pre_run_cell", transformer.cell_started)
        shell.events.register("post_run_cell", transformer.cell_ended)
        shell.events.register("pre_run_cell", self._keys.look)
        shell.events.register("post_run_cell", self._magics.shown.clear)
        shell.Completer.custom_matchers.append(self._completer.match)
        self._groups.install()
        self._magics.session.printed.install()
        if not hasattr(shell, "kernel"):
            shell.display_formatter.formatters["text/plain"].for_type_by_name(*_REPLY, _show_reply)

    def unload(self) -> None:
        shell, transformer = self._shell, self._transformer
        manager = shell.magics_manager
        for kind in ("line", "cell"):
            for name in ("farm", *CELL_MAGICS):
                manager.magics[kind].pop(name, None)
        manager.registry.pop(FarmMagics.__name__, None)
        shell.configurables[:] = [each for each in shell.configurables if each is not self._magics]
        shell.input_transformers_cleanup.remove(transformer)
        shell.events.unregister("pre_run_cell", transformer.cell_started)
        shell.events.unregister("post_run_cell", transformer.cell_ended)
        shell.events.unregister("pre_run_cell", self._keys.look)
        shell.events.unregister("post_run_cell", self._magics.shown.clear)
        self._magics.shown.clear()
        shell.Completer.custom_matchers.remove(self._completer.match)
        self._groups.remove()
        self._magics.session.printed.remove()
        formatter = shell.display_formatter.formatters["text/plain"]
        formatter.deferred_printers.pop(_REPLY, None)
        for cls in [cls for cls in formatter.type_printers if (cls.__module__, cls.__name__) == _REPLY]:
            formatter.type_printers.pop(cls)


def _show_reply(reply: Any, printer: Any, cycle: bool) -> None:
    """In a terminal: the answer's text, and not the fields of the value."""
    from farm_notebook.sanitize import printable

    printer.text(f"{printable(reply.text)}\n\n{reply.footer}")


def load(shell: InteractiveShell) -> None:
    """Add ``%farm``, ``%farm_chat`` and ``%%farm_chat`` to a shell."""
    unload(shell)
    extension = _loaded[id(shell)] = _Extension(shell)
    extension.load()


def unload(shell: InteractiveShell) -> None:
    """Leave the shell as it was before ``load``; a shell that was never loaded is left alone."""
    if extension := _loaded.pop(id(shell), None):
        extension.unload()
