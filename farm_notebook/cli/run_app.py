"""The command ``farm run``: options and help; the work is done elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from farm_notebook.errors import InvalidRequestError

__all__ = ["WithParameters", "run"]

_PARAMETER = ("-p", "--parameter")


class WithParameters(TyperCommand):
    """Takes ``-p name value``, as papermill does, and ``-p name=value``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        joined: list[str] = []
        words = iter(args)
        for word in words:
            joined.append(word)
            if word in _PARAMETER and (name := next(words, None)) is not None:
                value = None if "=" in name else next(words, None)
                joined.append(name if value is None else f"{name}={value}")
        parsed: list[str] = super().parse_args(ctx, joined)
        return parsed


def run(
    notebook: Annotated[Path, typer.Argument(help="A notebook.", show_default=False)],
    record: Annotated[
        bool, typer.Option("--record", help="Record its calls, and save what it shows.")
    ] = False,
    replay: Annotated[bool, typer.Option("--replay", help="Replay its calls; no model is asked.")] = False,
    auto: Annotated[bool, typer.Option("--auto", help="Replay what is recorded, record the rest.")] = False,
    file: Annotated[
        Path | None, typer.Option(help="The cassette; by default the one beside it.", show_default=False)
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            *_PARAMETER, metavar="NAME VALUE", help="A variable to set; repeatable.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the executed notebook.", show_default=False)
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on recorded calls nobody asks for.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Take them out, with --replay.")] = False,
) -> None:
    """Execute a notebook. Exit code 1: a cell failed or, with --replay, shows something else than before."""
    from farm_notebook.cli.run import run_notebook

    if record + replay + auto > 1:
        raise InvalidRequestError("--record, --replay and --auto exclude each other. Choose one of them.")
    if prune and not replay:
        raise InvalidRequestError("--prune takes out what a replay does not ask for, and goes with --replay.")
    pairs = [each.partition("=") for each in parameter or ()]
    if wrong := [name for name, sign, _ in pairs if not sign]:
        raise InvalidRequestError(f"-p {wrong[0]} has no value. Write -p {wrong[0]} VALUE.")
    if not run_notebook(
        notebook,
        mode="record" if record else "replay" if replay else "auto" if auto else None,
        file=file,
        parameters={name: value for name, _, value in pairs},
        output=output,
        strict=strict,
        prune=prune,
    ):
        raise typer.Exit(1)
