"""The cell magics: the table of them, two modules each, and what these have.

``NAME_options`` has ``parser()``, of the options on the magic's line, and loads nothing heavy, for completion
asks for it. ``NAME`` has ``prepare(session, line, cell, owns_cell=...)``, which gives the ``Turn`` that they
ask for. Each is imported when it is first used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from farm_notebook.notebook.line import LineParser
    from farm_notebook.notebook.session import Session

__all__ = ["CELL_MAGICS", "CellMagic", "Turn"]


@runtime_checkable
class Turn(Protocol):
    """What one cell asks of models."""

    @property
    def value(self) -> object | None:
        """The cell's value, which the cell shows already; ``None`` where nothing arrived."""

    async def run(self) -> object:
        """Ask, and paint the answer; this runs on the farm's loop.

        Raises:
            CancelledError: The user interrupted.
            FarmError: It failed.
        """

    def keep(self) -> None:
        """Keep what arrived, however it ended: bind names, remember the conversation, fill the next cell."""


@dataclass(frozen=True, slots=True)
class CellMagic:
    """One magic, ``%%NAME`` and ``%NAME``.

    Args:
        name: What the user types behind the ``%``.
        module: What its modules are called.
    """

    name: str
    module: str

    def parser(self) -> LineParser:
        """What parses the options on its line."""
        parser: LineParser = self._module("_options").parser()
        return parser

    def prepare(self, session: Session, line: str, cell: str | None, *, owns_cell: bool) -> Turn | None:
        """Everything up to the request; ``None`` where nothing is to be asked.

        Args:
            session: What the magic works with.
            line: What stands behind its name; ``--help`` alone prints the help.
            cell: The lines below; ``None`` of a line magic.
            owns_cell: Whether the cell has no other output, so that it may be cleared.

        Raises:
            FarmError: The line or the prompt is wrong.
        """
        if line.strip() in ("-h", "--help"):
            print(self.parser().format_help().rstrip())
            return None
        turn: Turn | None = self._module().prepare(session, line, cell, owns_cell=owns_cell)
        return turn

    def _module(self, of: str = "") -> Any:
        return import_module(f"{__name__}.{self.module}{of}")


_ALL = (CellMagic("farm_chat", "chat"), CellMagic("farm_code", "code"), CellMagic("farm_compare", "compare"))
CELL_MAGICS = {magic.name: magic for magic in _ALL}
