"""The commands of ``farm history`` and ``farm usage``: options and help; the work is done elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

__all__ = ["history", "show_usage"]

Since = Annotated[
    str | None, typer.Option(help="An age, as in 7d, or a day, as in 2026-05-31.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


class _Commands(TyperGroup):
    """Takes what is no command for a search, so that ``farm history word`` is ``farm history find word``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["find", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


history = typer.Typer(cls=_Commands, help="The calls that were made; `farm history WORDS` finds some.")


@history.command("find")
def find_calls(
    search: Annotated[
        list[str] | None, typer.Argument(help="Words of the prompt or of the answer.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Of this model, provider or alias.", show_default=False),
    ] = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(help="So many at most.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """List calls, newest first. The word `find` may be left out."""
    from farm_notebook.cli.history import find

    find(" ".join(search or ()) or None, model=model, since=since, limit=limit, as_json=as_json)


@history.command("show")
def show_call(
    number: Annotated[int, typer.Argument(metavar="ID", help="As the list has it.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Show one call, with the whole conversation that was sent."""
    from farm_notebook.cli.history import show

    show(number, as_json=as_json)


@history.command("clear")
def forget_calls(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Forget all of them. On a terminal you are asked first."""
    from farm_notebook.cli.history import clear

    clear(is_allowed=yes)


def show_usage(
    by: Annotated[
        Literal["model", "day", "provider", "notebook"],
        typer.Option(help="What the calls of one row have in common."),
    ] = "model",
    since: Since = None,
    as_json: AsJson = False,
) -> None:
    """Say what the calls came to: requests, tokens, cost, speed."""
    from farm_notebook.cli.usage import usage

    usage(by, since=since, as_json=as_json)
