"""What the children that load models have in common: a farm, and one question."""

from __future__ import annotations

import logging
import time
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from farm_notebook import Farm

__all__ = ["PROMPT", "farm_on", "first_token", "loaded", "swapped"]

PROMPT = " ".join(f"w{number}" for number in range(1, 17))


def farm_on(device: str, dtype: str, **models: Any) -> Farm:
    """A farm without a cache; transformers says nothing, and on a processor torch has one thread, so that the
    figures do not depend on the cores.

    Args:
        device: Where models go.
        dtype: Their number format.
        models: Settings of models.
    """
    logging.disable(logging.WARNING)
    transformers_logging.disable_progress_bar()
    if device == "cpu":
        torch.set_num_threads(1)
    return Farm(cache={"enabled": False}, huggingface={"device": device, "dtype": dtype}, models=models)


def loaded(farm: Farm, ref: str) -> float:
    """Seconds until a model is in memory, from wherever it is."""
    began = time.perf_counter()
    for _ in farm.models.load(ref):
        pass
    return time.perf_counter() - began


def swapped(farm: Farm, leaving: str, coming: str) -> float:
    """Seconds until one model has taken the place of another."""
    began = time.perf_counter()
    for _ in farm.models.swap(leaving, coming):
        pass
    return time.perf_counter() - began


def first_token(farm: Farm, ref: str) -> float:
    """Seconds until a model has answered one token."""
    began = time.perf_counter()
    farm.chat(PROMPT, model=ref, temperature=0, max_tokens=1)
    return time.perf_counter() - began
