"""Have two models of one size take each other's place. Arguments: their folders, that of a tiny one, a
device, a number format, the size in bytes, rounds.

Answers with the seconds of each round: of the swap, of the first token after it and of one more, of the way
back from host memory, and of one copy of so many bytes to and from the device.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch

from benchmarks.children.model_words import farm_on, first_token, loaded, swapped

WARM_UP = 2  # rounds, one for each of the two
PIECE_BYTES = 1 << 30  # of pinned memory, through which all bytes go


def main() -> None:
    *folders, device, dtype, size, rounds = sys.argv[1:]
    here, there, tiny = (f"huggingface:{folder}" for folder in folders)
    farm = farm_on(device, dtype, warm_bytes=3 * int(size))
    limits = _Limits(device, int(size))
    loaded(farm, here)
    cold_s = swapped(farm, here, there)
    loaded(farm, tiny)
    taken: list[dict[str, float]] = []
    for _ in range(WARM_UP + int(rounds)):
        swap_s = swapped(farm, there, here)
        row = {"swap": swap_s, "first": first_token(farm, here), "warm": first_token(farm, here)}
        swapped(farm, here, tiny)
        row |= {"back": loaded(farm, here), "to": limits.to_device(), "from": limits.from_device()}
        taken.append(row)
        here, there = there, here
    farm.close()
    print(json.dumps({"cold": cold_s, "rounds": taken[WARM_UP:]}), flush=True)


class _Limits:
    """How fast bytes can be copied: between a device and pinned memory, or within host memory.

    Args:
        device: ``cpu``, or one of CUDA.
        size_bytes: In all.
    """

    def __init__(self, device: str, size_bytes: int) -> None:
        self._is_gpu = device != "cpu"
        options: dict[str, Any] = {"dtype": torch.uint8}
        self._host = torch.zeros(min(PIECE_BYTES, size_bytes), pin_memory=self._is_gpu, **options)
        self._place = torch.zeros_like(self._host, device=device)
        self._size_bytes = size_bytes

    def to_device(self) -> float:
        """Seconds of one copy of all bytes there."""
        return self._copied(self._host, self._place)

    def from_device(self) -> float:
        """Seconds of one copy of all bytes back."""
        return self._copied(self._place, self._host)

    def _copied(self, source: torch.Tensor, target: torch.Tensor) -> float:
        began, left = time.perf_counter(), self._size_bytes
        while left:
            size = min(left, source.nbytes)
            target[:size].copy_(source[:size], non_blocking=True)
            left -= size
        if self._is_gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
