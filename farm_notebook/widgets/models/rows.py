"""What is told of each model of a list: what it is, what it can do, what it costs, whether it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from farm_notebook.devices import device_stats
from farm_notebook.prices import Prices
from farm_notebook.types import DeviceStats, ModelInfo, ModelRef, Usage
from farm_notebook.widgets.models.fit import fit

__all__ = ["dollars_per_million", "rows"]

SAMPLE = 1_000  # tokens, fewer than those from which on some models cost more
MILLION = 1_000_000


def rows(
    infos: Sequence[ModelInfo],
    *,
    here: Set[ModelRef],
    prices: Prices,
    devices: Sequence[DeviceStats] | None = None,
) -> list[dict[str, Any]]:
    """A model each, in JSON values; those of a provider together, and first what is at hand.

    It reads the devices and the published prices, so it belongs into a thread.

    Args:
        infos: What the providers list.
        here: The models that run on this machine.
        prices: What models cost.
        devices: What there is; ``None`` reads it.
    """
    there = device_stats() if devices is None and here else devices or ()
    ordered = sorted(infos, key=lambda each: (each.ref.provider, not each.available, each.ref.model))
    return [_row(info, info.ref in here, there, prices) for info in ordered]


def dollars_per_million(prices: Prices, ref: ModelRef) -> Mapping[str, float | None]:
    """What a million tokens of a short prompt and its answer cost; ``None`` where that is not known."""
    nothing = prices.cost(ref, Usage(0, 0)) or 0.0
    asked = {"input_price": Usage(SAMPLE, 0), "output_price": Usage(0, SAMPLE)}
    costs = {name: prices.cost(ref, usage) for name, usage in asked.items()}
    return {
        name: None if cost is None else round((cost - nothing) * MILLION / SAMPLE, 6)
        for name, cost in costs.items()
    }


def _row(info: ModelInfo, is_here: bool, devices: Sequence[DeviceStats], prices: Prices) -> dict[str, Any]:
    return {
        "name": str(info.ref),
        "provider": info.ref.provider,
        "model": info.ref.model,
        "size_bytes": info.size_bytes,
        "context_tokens": info.context_tokens,
        "capabilities": None if info.capabilities is None else sorted(info.capabilities),
        "license": info.license,
        "description": info.description,
        "is_available": info.available,
        "is_loaded": info.loaded,
        "is_here": is_here,
        "fit": fit(info.size_bytes, devices) if is_here and info.size_bytes and devices else None,
        **dollars_per_million(prices, info.ref),
    }
