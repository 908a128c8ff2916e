"""Sequences of different lengths that one module continues together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = ["Rows", "can_batch"]


class Rows:
    """What a module has read so far, a row a sequence.

    Rows end at the same column and are padded on the left, so that each takes its next token in one place.
    All calls are made in one thread, in inference mode. A call that raises leaves the rows unusable, but for
    ``with_more`` and ``only``, which change nothing.

    Args:
        module: A decoder for which ``can_batch`` holds, in evaluation mode.
    """

    def __init__(self, module: PreTrainedModel) -> None:
        from farm_notebook.providers.huggingface.growing import growing_cache

        self._module = module
        self._cache = growing_cache()
        self._lengths: list[int] = []  # of each row, in tokens

    def feed(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Let the module read further tokens of every row.

        Args:
            tokens: For each row at least one; of any number in the first call, of the same number in later
                ones.

        Returns:
            The logits after each row's last token, of shape ``[rows, vocabulary]``.
        """
        import torch

        if not self._lengths:
            self._lengths = [0] * len(tokens)
        width = max(len(row) for row in tokens)
        end = max(self._lengths) + width
        lengths = [length + len(row) for length, row in zip(self._lengths, tokens, strict=True)]
        device = self._module.device
        ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in tokens], device=device)
        if min(lengths) == end:  # attention without a mask is the faster one
            mask, positions = None, torch.arange(end - width, end, device=device).expand(len(tokens), -1)
        else:
            columns = torch.arange(end, device=device)
            starts = torch.tensor([[end - length] for length in lengths], device=device)
            mask, positions = (columns >= starts).long(), (columns[-width:] - starts).clamp(min=0)
        takes = _parameters(type(self._module).forward)
        optional = {"position_ids": positions, "logits_to_keep": 1}
        output = self._module(
            input_ids=ids,
            attention_mask=mask,
            use_cache=True,
            **{_cache_name(takes): self._cache},
            **{name: value for name, value in optional.items() if name in takes},
        )
        self._lengths = lengths
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def only(self, rows: Sequence[int]) -> Rows:
        """Some of the rows, in the order asked."""
        return self._regrouped([(self, rows)])

    def with_more(self, more: Rows) -> Rows:
        """These rows, and those behind them."""
        return self._regrouped([(part, range(len(part._lengths))) for part in (self, more)])

    def _regrouped(self, parts: Sequence[tuple[Rows, Sequence[int]]]) -> Rows:
        from farm_notebook.providers.huggingface.growing import regrouped

        new = Rows(self._module)
        new._lengths = [part._lengths[row] for part, rows in parts for row in rows]
        new._cache = regrouped([(part._cache, rows) for part, rows in parts], max(new._lengths))
        return new


def can_batch(module: PreTrainedModel) -> bool:
    """Whether ``Rows`` fit a module: a decoder whose layers keep keys and values, and no other state."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if module.config.is_encoder_decoder or not module.can_generate():
        return False
    takes = _parameters(type(module).forward)
    if not {"input_ids", "attention_mask", _cache_name(takes), "use_cache"} <= takes:
        return False
    layers = DynamicCache(config=module.config).layers
    return bool(layers) and {type(layer) for layer in layers} <= {DynamicLayer, DynamicSlidingWindowLayer}


@lru_cache(maxsize=16)  # a look takes as long as a step of a small model
def _parameters(forward: Callable[..., Any]) -> frozenset[str]:
    """The names of what a module's ``forward`` takes."""
    return frozenset(inspect.signature(forward).parameters)


def _cache_name(takes: frozenset[str]) -> str:
    """What ``forward`` calls the keys and values: another name before transformers 5.24."""
    return "cache" if "cache" in takes else "past_key_values"
