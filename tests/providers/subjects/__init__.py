"""The providers under contract, each made ready by a module of its name; a new one adds one entry.

A subject's function is a context manager: it starts the real server, or the double where the real one cannot
run, yields the ``Subject``, and leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from contract import Subject

from subjects.example import example
from subjects.huggingface import real, tiny
from subjects.llamacpp import embedded
from subjects.ollama import ollama
from subjects.openai import double, llamacpp_server, transformers_serve
from subjects.scripted import scripted

__all__ = ["MARKS", "SUBJECTS"]

SUBJECTS: dict[str, Callable[[pytest.FixtureRequest], AbstractContextManager[Subject]]] = {
    "scripted": scripted,
    "example": example,
    "llamacpp": embedded,
    "huggingface": real,
    "huggingface-tiny": tiny,
    "ollama": ollama,
    "openai-double": double,
    "openai-llamacpp": llamacpp_server,
    "openai-transformers": transformers_serve,
}
MARKS: dict[str, list[pytest.MarkDecorator]] = {
    "huggingface": [pytest.mark.model, pytest.mark.slow],
    "llamacpp": [pytest.mark.model],
    "openai-llamacpp": [pytest.mark.model],
    "openai-transformers": [pytest.mark.model, pytest.mark.slow],
}
