"""The commands of ``farm config``: options and help; the work is done in ``config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["config"]

EXIT_NOT_VALID = 2  # as for a wrong setting anywhere

config = typer.Typer(no_args_is_help=True, help="What is set, where it comes from, and files to begin with.")
Force = Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")]


@config.command("show")
def show_config(
    key: Annotated[
        str | None, typer.Argument(help="One setting or section, as in cache.ttl_s.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON array.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also what is at its default.")] = False,
) -> None:
    """Say what is set, and by whom. What may be a key is not shown."""
    from farm_notebook.cli.config import show

    show(key, as_json=as_json, everything=everything)


@config.command("check")
def check_config() -> None:
    """Say all that is wrong with the settings. Exit code 2 means that something is."""
    from farm_notebook.cli.config import check

    if not check():
        raise typer.Exit(EXIT_NOT_VALID)


@config.command("init")
def init_config(
    for_user: Annotated[bool, typer.Option("--user", help="Your own file, for all folders.")] = False,
    force: Force = False,
) -> None:
    """Write a farm.toml into this folder, in which every setting stands as a comment."""
    from farm_notebook.cli.config import init

    init(for_user=for_user, overwrite=force)


@config.command("path")
def show_config_paths() -> None:
    """Say which files are read, strongest first."""
    from farm_notebook.cli.config import show_paths

    show_paths()


@config.command("import")
def import_javascript(
    file: Annotated[Path, typer.Argument(help="A farm.config.js, .mjs, .cjs or .json.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Where to write; stdout by default.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Run a program without asking.")] = False,
    force: Force = False,
) -> None:
    """Convert a JavaScript FARM configuration to TOML. A program is run by your own node."""
    from farm_notebook.cli.config import import_config

    import_config(file, out=out, overwrite=force, is_allowed=yes)


@config.command("set-key")
def set_config_key(
    variable: Annotated[str, typer.Argument(help="As in OPENAI_API_KEY.", show_default=False)],
    forget: Annotated[bool, typer.Option("--forget", help="Take it out again.")] = False,
) -> None:
    """Keep a key in the system's keyring: typed at a prompt, or piped in."""
    from farm_notebook.cli.config import set_key

    set_key(variable, forget=forget)
