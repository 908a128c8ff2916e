"""``%farm load``: bring a model into memory, fetched first if need be."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

if TYPE_CHECKING:
    from farm_notebook.types import ModelRef, ModelStatus

__all__ = ["add_arguments", "run"]

DTYPES = ("auto", "float32", "bfloat16", "float16")


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="as `%%farm models` lists it")
    parser.add_argument("--device", metavar="DEVICE", help="where to: cpu, cuda:0, auto (default: as before)")
    parser.add_argument(
        "--dtype", metavar="DTYPE", help="in which number format, as in bfloat16 (default: as before)"
    )
    parser.suggest("dtype", DTYPES)
    pin = parser.add_mutually_exclusive_group()
    pin.add_argument(
        "--pin", dest="pin", action="store_const", const=True, help="never give it up for another model"
    )
    pin.add_argument(
        "--unpin", dest="pin", action="store_const", const=False, help="it may be given up again"
    )


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Load it, and say how far it is, and where it is then."""
    from farm_notebook.notebook.loading import follow

    ref = session.ref(arguments.model)
    before = session.status(ref)
    try:
        follow(
            session.shell,
            str(ref),
            session.farm.models.load(
                str(ref), device=arguments.device, dtype=arguments.dtype, pin=arguments.pin
            ),
            outcome=lambda took_s: _outcome(ref, before, session.status(ref), session.took_s("load", took_s)),
            left=lambda: session.what_is_left(ref),
        )
    finally:
        session.news.skip(ref)  # whatever came of it is told here
    session.known.add([str(ref)])


def _outcome(ref: ModelRef, before: ModelStatus | None, now: ModelStatus | None, took_s: float) -> str:
    from farm_notebook.notebook.statuses import facts

    said = f": {facts(now)}" if now and facts(now) else ""
    is_the_same = before is not None and now is not None and before.generation == now.generation
    if before is not None and is_the_same and before.state == "ready":
        return f"{ref} was loaded already{said}."
    if before is not None and is_the_same and before.state == "aside":
        return f"{ref} is back from host memory{said} ({took_s:.1f} s)."
    return f"{ref} is loaded{said} ({took_s:.1f} s)."
