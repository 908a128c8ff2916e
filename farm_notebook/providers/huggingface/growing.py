"""Keys and values with room to grow, for several sequences at once.

This module needs transformers to be imported, so it is imported where a model is there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

__all__ = ["GrowingLayer", "growing_cache", "regrouped"]

ROOM = 128  # tokens; what is left over is wasted memory, what is missing is copied


class GrowingLayer(DynamicLayer):
    """One layer's keys and values in buffers that are larger than they are.

    A new token is written behind the others, where a ``DynamicLayer`` copies all of them at each step. The
    windows of sliding attention are left to the attention mask, so that every layer has the same columns.
    """

    dtype: torch.dtype  # read by transformers before 5.24

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self._buffers = key_states[:, :, :0], value_states[:, :, :0]
        self.keys, self.values = self._buffers

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write ``[rows, heads, tokens, width]`` behind what is there, and give all that is there now."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        begin = self.keys.shape[-2]
        end = begin + key_states.shape[-2]
        keys, values = self._buffers
        if end > keys.shape[-2]:
            keys, values = self._buffers = _roomy(keys, begin, end), _roomy(values, begin, end)
        keys[:, :, begin:end] = key_states
        values[:, :, begin:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    @classmethod
    def holding(cls, keys: torch.Tensor, values: torch.Tensor, tokens: int) -> GrowingLayer:
        """A layer whose first ``tokens`` columns of these buffers are taken."""
        layer = cls()
        layer.dtype, layer.device = keys.dtype, keys.device
        layer._buffers = keys, values
        layer.keys, layer.values = keys[:, :, :tokens], values[:, :, :tokens]
        layer.is_initialized = True
        return layer


def growing_cache() -> Cache:
    """An empty cache; a layer is made when a module first writes to it."""
    return Cache(layer_class_to_replicate=GrowingLayer)


def regrouped(parts: Sequence[tuple[Cache, Sequence[int]]], tokens: int) -> Cache:
    """A new cache of chosen rows of others, their last columns aligned; the others stay as they are.

    Args:
        parts: Caches of one module, each with the rows to take of it.
        tokens: Columns of the new cache. What is to the left of a shorter part's columns is zero, since what
            a mask hides must still be finite.
    """
    cache = growing_cache()
    for layers in zip(*(part.layers for part, _ in parts), strict=True):
        keys = _gathered([layer.keys for layer in layers], parts, tokens)
        values = _gathered([layer.values for layer in layers], parts, tokens)
        cache.layers.append(GrowingLayer.holding(keys, values, tokens))
    return cache


def _gathered(
    states: Sequence[torch.Tensor], parts: Sequence[tuple[Cache, Sequence[int]]], tokens: int
) -> torch.Tensor:
    rows = sum(len(chosen) for _, chosen in parts)
    _, heads, _, width = states[0].shape
    buffer = states[0].new_zeros(rows, heads, tokens + ROOM, width)
    row = 0
    for state, (_, chosen) in zip(states, parts, strict=True):
        columns = min(tokens, state.shape[-2])
        buffer[row : row + len(chosen), :, tokens - columns : tokens] = state[
            list(chosen), :, state.shape[-2] - columns :
        ]
        row += len(chosen)
    return buffer


def _roomy(states: torch.Tensor, taken: int, tokens: int) -> torch.Tensor:
    """A larger buffer with the ``taken`` columns of this one, room for ``tokens``, and some more."""
    rows, heads, _, width = states.shape
    buffer = states.new_empty(rows, heads, tokens + ROOM, width)
    buffer[:, :, :taken] = states[:, :, :taken]
    return buffer
