"""LoRA adapters of random weights for a model, and the name of the two of them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from .versions import Versions

__all__ = ["adapter_versions"]

TARGETS = ["q_proj", "v_proj", "down_proj"]


def adapter_versions(base: Path, folder: Path) -> Versions:
    """Two adapters for a model, of different effect, saved as peft saves them."""
    return Versions("huggingface", _adapter(base, folder / "one", 1), _adapter(base, folder / "two", 2))


def _adapter(base: Path, folder: Path, seed: int) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 asks for what transformers 5.24 renamed
        torch.manual_seed(seed)
        plain: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        module = get_peft_model(plain, LoraConfig(r=4, lora_alpha=16, target_modules=TARGETS))
        for name, parameter in module.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.5)  # zero, as training begins, would change nothing
        module.save_pretrained(str(folder))
    return folder
