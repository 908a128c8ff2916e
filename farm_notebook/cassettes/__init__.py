"""Cassettes: calls that are recorded in a file beside a notebook, and replayed from it anywhere.

A file has a call a line, made to be read in a diff and to be merged by git. ``Tape`` stands above all that a
farm does, and records or replays it.
"""

from __future__ import annotations

from farm_notebook.cassettes.asks import Ask, ask
from farm_notebook.cassettes.cassette import Cassette, Mode
from farm_notebook.cassettes.file import SUFFIX, CassetteFile, default_path
from farm_notebook.cassettes.glances import glancing
from farm_notebook.cassettes.lines import Line
from farm_notebook.cassettes.scrub import scrub_for
from farm_notebook.cassettes.shared import cassette_path, missing, rewind, shared_cassette
from farm_notebook.cassettes.tape import Tape

__all__ = [
    "SUFFIX",
    "Ask",
    "Cassette",
    "CassetteFile",
    "Line",
    "Mode",
    "Tape",
    "ask",
    "cassette_path",
    "default_path",
    "glancing",
    "missing",
    "rewind",
    "scrub_for",
    "shared_cassette",
]
