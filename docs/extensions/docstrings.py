"""Docstrings as the reference shows them: nothing is told twice in the code, and nothing is missing here."""

from __future__ import annotations

import inspect
import re
from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx

from farm_notebook.errors import FarmError
from farm_notebook.farm import AsyncFarm
from farm_notebook.farm.models import AsyncModels

__all__ = ["setup"]

ORIGINALS = {"AsyncFarm": AsyncFarm, "AsyncModels": AsyncModels}
SEE = re.compile(r"See ``(\w+)\.(\w+)``(?:\.$|; )")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _complete, priority=400)  # before napoleon reads it
    app.connect("autodoc-process-signature", _shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _complete(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """What a blocking call leaves to the one that it stands for; and where an error is explained."""
    if lines and (see := SEE.match(lines[0])) and see[1] in ORIGINALS:
        more = lines[0][see.end() :]
        original = (inspect.getdoc(getattr(ORIGINALS[see[1]], see[2])) or "").splitlines()
        lines[:] = [*original, "", f"{more[:1].upper()}{more[1:]}"]
    if what == "exception" and issubclass(thing, FarmError):
        lines += ["", f":doc:`What to do about it </errors/{thing.__name__}>`."]


def _shorten(app: Sphinx, what: str, name: str, thing: Any, *_: Any) -> tuple[str, None] | None:
    """Settings are told in tables; their signatures would repeat those."""
    return ("(**settings)", None) if what == "class" and issubclass(thing, BaseModel) else None
