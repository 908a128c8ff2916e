"""The commands of ``farm cassette``: options and help; the work is done elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["cassette"]

File = Annotated[Path, typer.Argument(help="A cassette, or the notebook that it is of.", show_default=False)]
Asked = Annotated[
    Path | None,
    typer.Option(
        help="What was asked for, as FARM_CASSETTE__ASKED_FILE was told while it was replayed.",
        show_default=False,
    ),
]

cassette = typer.Typer(no_args_is_help=True, help="Recorded calls: look at them, and put them right.")


@cassette.command()
def check(
    file: File,
    asked: Asked = None,
    fix: Annotated[bool, typer.Option("--fix", help="Write it anew, as it should be.")] = False,
) -> None:
    """Say what is wrong with a cassette. Exit code 1 means that something is."""
    from farm_notebook.cli.cassette import check as run

    if not run(file, asked=asked, fix=fix):
        raise typer.Exit(1)


@cassette.command()
def diff(before: File, after: File) -> None:
    """Say what two cassettes have not in common. Exit code 1 means that there is something."""
    from farm_notebook.cli.cassette import diff as run

    if not run(before, after):
        raise typer.Exit(1)


@cassette.command()
def prune(file: File, asked: Asked = None) -> None:
    """Take out what is not needed: torn and double lines, unused images and, with --asked, unused calls."""
    from farm_notebook.cli.cassette import prune as run

    run(file, asked=asked)


@cassette.command()
def scan(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Cassettes, notebooks, any texts; all cassettes below here.", show_default=False),
    ] = None,
) -> None:
    """Look for what may be a key. Exit code 1 means that there is something."""
    from farm_notebook.cli.cassette import scan as run

    if not run(files or ()):
        raise typer.Exit(1)


@cassette.command()
def refresh(
    file: File,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Of a model, a prompt or an id; repeatable.", show_default=False),
    ] = None,
) -> None:
    """Ask all that is recorded again, and say what changed. Exit code 1 means that something did."""
    from farm_notebook.cli.refresh import refresh as run

    if not run(file, only=only or ()):
        raise typer.Exit(1)
