"""Load a model by hand and through the farm, in turn. Arguments: a folder, a device, a number format, rounds,
and a repository of the same files in the hub's cache.

Answers with the seconds of each round, by the way it was loaded: until it was, and until its first token. The
packages are imported before, and the files are in the system's cache.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from typing import Any, TypeAlias

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.children.model_words import PROMPT, farm_on, first_token, loaded
from benchmarks.measure import interleaved

Seconds: TypeAlias = tuple[float, float]


def main() -> None:
    folder, device, dtype, rounds, repository = sys.argv[1:]
    farm = farm_on(device, dtype)

    def ours(model: str) -> Seconds:
        loaded_s = loaded(farm, model)
        took = loaded_s, loaded_s + first_token(farm, model)
        farm.models.unload(model)
        return took

    def naive(*, is_copied: bool = False) -> Seconds:
        took = _by_hand(folder, device, getattr(torch, dtype), is_copied=is_copied)
        gc.collect()
        if device != "cpu":
            torch.cuda.empty_cache()
        return took

    cases = {"ours": lambda: ours(f"huggingface:{folder}"), "naive": naive}
    if device == "cpu":
        cases |= {"hub": lambda: ours(f"huggingface:{repository}"), "copied": lambda: naive(is_copied=True)}
    taken = interleaved(int(rounds), cases)
    farm.close()
    print(json.dumps(taken), flush=True)


def _by_hand(folder: str, device: str, dtype: torch.dtype, *, is_copied: bool) -> Seconds:
    began = time.perf_counter()
    module: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, device_map=device)
    if is_copied:
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()
    if device != "cpu":
        torch.cuda.synchronize()
    loaded_s = time.perf_counter() - began
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(PROMPT, return_tensors="pt").input_ids.to(device)
    with torch.inference_mode():
        module.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=1).tolist()
    return loaded_s, time.perf_counter() - began


if __name__ == "__main__":
    main()
