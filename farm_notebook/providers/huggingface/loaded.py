"""A model in memory: what loading makes, and what generation, embedding and leases work on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LoadedModel"]


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """Weights on a device, with the tokenizer that belongs to them.

    Args:
        name: The model part of the ref, as the user wrote it, e.g. ``./checkpoint``, ``owner/name``.
        module: In evaluation mode, its gradients off.
        tokenizer: Its padding side is left as the checkpoint has it; whoever pads sets it for the call.
        device: Where the inputs go.
        devices: Where the weights lie, as torch names it; several for a model that is too large for one.
        dtype: The number format of most of the weights, as torch names it.
        folder: Of the configuration, weights and tokenizer; of a GGUF file, the one it lies in.
        digest: Of the files that were loaded: a commit of the hub or a SHA-256.
        context_tokens: How many tokens the model was made to see at once; ``None`` where it does not say.
        size_bytes: Of the weights in memory.
        generation: Grows with every load in this process, so that an old one is told from a new one.
    """

    name: str
    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    devices: tuple[str, ...]
    dtype: str
    folder: Path
    digest: str | None
    context_tokens: int | None
    size_bytes: int
    generation: int

    @property
    def is_spread(self) -> bool:
        """Whether it lies on several devices; only ``module.generate`` knows how to work on such a one."""
        return len(self.devices) > 1
