"""``%farm seed``: one seed for all requests that name none, so that sampling can be repeated."""

from __future__ import annotations

import argparse

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

__all__ = ["add_arguments", "run"]

OFF = "off"


def add_arguments(parser: LineParser) -> None:
    parser.add_argument(
        "seed",
        nargs="?",
        metavar="NUMBER|off",
        help="for the rest of this session; without it, tell it",
    )
    parser.suggest("seed", (OFF,))


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Set it, and name the providers that take none."""
    farm = session.farm
    if arguments.seed is not None:
        farm.reload(seed=None if arguments.seed == OFF else _number(arguments.seed))
    seed = farm.config.seed
    if seed is None:
        print("Requests that name no seed have none.")
        return
    print(f"{seed} is the seed of every request that names none. The same request gets the same answer.")
    if without := _without(session):
        print(f"Asked without it, as they take none: {', '.join(without)}.")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise InvalidRequestError(f"{text!r} is no seed. Valid: whole numbers from 0, or {OFF}.")
    return int(text)


def _without(session: Session) -> list[str]:
    """The providers that take no seed."""
    from farm_notebook.providers import provider_names, takes_seed

    config = session.farm.config
    return [name for name in provider_names(config) if not takes_seed(name, config)]
