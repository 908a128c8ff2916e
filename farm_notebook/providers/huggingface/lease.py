"""A model lent out: its module and tokenizer, until it is given back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from farm_notebook.errors import InvalidRequestError
from farm_notebook.providers.huggingface.loaded import LoadedModel

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LeasedModel"]


class LeasedModel:
    """What ``with farm.models.lease(...) as m`` gives.

    The weights stay in memory as long as it is held, also where the model is unloaded meanwhile. Once it was
    given back every use of it is an error; what was taken out of it, such as ``m.module``, should be dropped
    then too, or the memory cannot be freed.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._name = loaded.name
        self._held: LoadedModel | None = loaded

    @property
    def name(self) -> str:
        """The model part of its ref."""
        return self._name

    @property
    def module(self) -> PreTrainedModel:
        """The model itself. What you change in it, later answers see."""
        return self._loaded.module

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that belongs to it."""
        return self._loaded.tokenizer

    @property
    def device(self) -> torch.device:
        """Where inputs go."""
        return self._loaded.device

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self._loaded.folder

    @property
    def context_tokens(self) -> int | None:
        """How many tokens it was made to see at once."""
        return self._loaded.context_tokens

    @property
    def generation(self) -> int:
        """Grows with every load in this process."""
        return self._loaded.generation

    def give_back(self) -> None:
        """End the lease."""
        self._held = None

    @property
    def _loaded(self) -> LoadedModel:
        if self._held is None:
            raise InvalidRequestError(
                f"The lease of huggingface:{self._name} has ended; take another for further work."
            )
        return self._held

    def __repr__(self) -> str:
        return f"LeasedModel({self._name!r}{'' if self._held else ', given back'})"
