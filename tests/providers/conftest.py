"""Fixtures that the tests of several providers share."""

from __future__ import annotations

from checkpoints import converted_model, tiny_model
from ollama_bench import make_ollama, ollama_double, ollama_provider
from transformers_server import transformers_server

__all__ = [
    "converted_model",
    "make_ollama",
    "ollama_double",
    "ollama_provider",
    "tiny_model",
    "transformers_server",
]
