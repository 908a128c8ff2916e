"""Load models and give them up, and see what memory is left. Arguments: the folders of two models of one
size, a device, a number format, the size in bytes, cycles.

Answers with bytes: the resident set before the first load and after each unload; on a GPU also what torch has
allocated and what the driver has free after each, and the most that torch had allocated and reserved while
one model took the place of another on a device with no room for both.
"""

from __future__ import annotations

import json
import sys

import psutil
import torch

from benchmarks.children.model_words import farm_on, first_token, loaded, swapped
from farm_notebook import Farm

ROOM = 1.25  # of one model, for a swap


def main() -> None:
    *folders, device, dtype, size, cycles = sys.argv[1:]
    here, there = (f"huggingface:{folder}" for folder in folders)
    farm = farm_on(device, dtype, warm_bytes=3 * int(size))
    is_gpu = device != "cpu"
    if is_gpu:
        torch.zeros(1, device=device)  # the context, which stays
        torch.cuda.empty_cache()
    samples = [_sample(is_gpu=is_gpu)]
    for _ in range(int(cycles)):
        loaded(farm, here)
        first_token(farm, here)
        farm.models.unload(here)
        samples.append(_sample(is_gpu=is_gpu))
    peaks = _peaks(farm, here, there, int(size)) if is_gpu else []
    farm.close()
    print(json.dumps({"samples": samples, "peaks": peaks}), flush=True)


def _sample(*, is_gpu: bool) -> dict[str, int]:
    sample = {"resident": psutil.Process().memory_info().rss}
    if is_gpu:
        sample |= {"allocated": torch.cuda.memory_allocated(), "free": torch.cuda.mem_get_info()[0]}
    return sample


def _peaks(farm: Farm, here: str, there: str, size_bytes: int) -> list[dict[str, int]]:
    """Of a swap to a model on disk, and of one to a model in host memory; something else has the rest."""
    rest = torch.cuda.mem_get_info()[0] - int(ROOM * size_bytes)
    ballast = torch.empty(max(1, rest), dtype=torch.uint8, device="cuda")
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    loaded(farm, here)
    peaks = []
    for leaving, coming in ((here, there), (there, here)):
        torch.cuda.reset_peak_memory_stats()
        swapped(farm, leaving, coming)
        peaks.append(
            {
                "allocated": torch.cuda.max_memory_allocated() - before[0],
                "reserved": torch.cuda.max_memory_reserved() - before[1],
            }
        )
    del ballast
    return peaks


if __name__ == "__main__":
    main()
