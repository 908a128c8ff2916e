"""LoRA adapters on top of a model, ``base+adapter``, which share the base's weights.

An adapted model is a second tree of modules over the same tensors, in which the adapter's layers stand around
the base's. So nothing is switched between two requests, and none can be answered with another's adapter.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import FarmError, LoadError, MissingExtraError, OutOfMemoryError
from farm_notebook.lifecycle.version import next_generation
from farm_notebook.providers.huggingface.checkpoint import whole_tensors
from farm_notebook.providers.huggingface.failure import first_line, is_out_of_memory
from farm_notebook.providers.huggingface.loaded import LoadedModel
from farm_notebook.providers.huggingface.memory import living
from farm_notebook.providers.huggingface.progress import watched
from farm_notebook.providers.huggingface.reading import read_to
from farm_notebook.providers.huggingface.runtime import INSTALL, quiet
from farm_notebook.providers.huggingface.work import Halt, HaltedError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["adapt", "adapted_digest", "adapter_weights"]

WEIGHTS, PICKLED, CONFIG = "adapter_model.safetensors", "adapter_model.bin", "adapter_config.json"
PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")  # of training, which leave the base as it is
SHOWN_NAMES = 3


def adapt(
    base: LoadedModel,
    name: str,
    folder: Path,
    halt: Halt,
    report: Callable[[int, int], None],
    *,
    digest: str | None = None,
) -> LoadedModel:
    """Put an adapter on a model; blocks. The model itself stays as it is, and shares its memory.

    Args:
        base: What it is put on.
        name: Of the two, ``base+adapter``.
        folder: Of the adapter's files.
        halt: Looked at between two tensors.
        report: Called with the adapter's bytes that are loaded, and those that will be.
        digest: Of both, where known.

    Raises:
        MissingExtraError: peft is not installed.
        LoadError: The folder has no adapter of LoRA, or it was made for another model.
        OutOfMemoryError: It does not fit.
        HaltedError: It was asked to stop.
    """
    if find_spec("peft") is None:
        raise MissingExtraError(f"LoRA adapters need peft: {INSTALL}")
    weights = adapter_weights(name, folder)
    whole_tensors(weights)  # says of a file that is cut off that it is, and not that it does not fit
    size = weights.stat().st_size
    made_for = _read_config(folder).get("base_model_name_or_path")
    module = _sharing(base.module)
    try:
        with quiet(), watched(halt, report, {}, size), read_to(None if base.is_spread else base.device):
            info = module.load_adapter(
                str(folder),
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # which is not to ignore them, but to be told of them all
                adapter_kwargs={"local_files_only": True},
            )
            tokenizer = _tokenizer(base, folder)
    except HaltedError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f"{name!r}: the adapter's {size:,} bytes do not fit on {base.device}. Unload another model.",
                provider="huggingface",
            ) from error
        raise _misfit(name, base, made_for, first_line(error)) from error
    if problems := _problems(info):
        raise _misfit(name, base, made_for, problems)
    _require_words(name, module, tokenizer)
    module.requires_grad_(False)
    living.add(module)
    return replace(
        base,
        name=name,
        module=module.eval(),
        tokenizer=tokenizer,
        digest=digest,
        size_bytes=_own_bytes(module, base.module),
        generation=next_generation(),
    )


def adapter_weights(name: str, folder: Path) -> Path:
    """The file of an adapter's weights; nothing of them is read.

    Args:
        name: Of base and adapter, for errors.
        folder: Of the adapter.

    Raises:
        LoadError: This is no adapter of LoRA, its weights are pickled, or it goes with a base whose weights
            were changed too.
    """
    config = _read_config(folder)
    if (kind := config.get("peft_type")) != "LORA":
        raise LoadError(
            f"{str(folder)!r} is an adapter of the kind {kind!r}; the one kind that is known is 'LORA'."
        )
    if (start := config.get("init_lora_weights", True)) not in PLAIN_STARTS:
        raise LoadError(
            f"{str(folder)!r} was trained on a base whose weights were changed first "
            f"(init_lora_weights={start!r}). Save it as a plain LoRA: "
            "save_pretrained(..., path_initial_model_for_weight_conversion=...)."
        )
    file = folder / WEIGHTS
    if file.is_file():
        return file
    if (folder / PICKLED).is_file():
        raise LoadError(
            f"{name!r}: the adapter has pickled weights only ({PICKLED}), and reading a pickle runs whatever "
            f"code is in it. If you trust it, convert it to {WEIGHTS}: peft's save_pretrained does."
        )
    raise LoadError(f"{name!r}: the adapter has no weights: there is no {str(file)!r}.")


def adapted_digest(base: str | None, adapter: str | None) -> str | None:
    """SHA-256 over the digests of both, where both are known."""
    if base is None or adapter is None:
        return None
    return hashlib.sha256(f"{base}+{adapter}".encode()).hexdigest()


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG
    try:
        config = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise LoadError(f"{str(folder)!r} is no adapter: there is no {CONFIG} in it.") from None
    except (OSError, ValueError) as error:
        raise LoadError(f"{str(file)!r} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise LoadError(f"{str(file)!r} holds no JSON object.")
    return config


def _sharing(module: PreTrainedModel) -> PreTrainedModel:
    """A second tree of the same modules over the same tensors."""
    return copy.deepcopy(module, {id(tensor): tensor for tensor in _tensors(module)})


def _own_bytes(module: PreTrainedModel, base: PreTrainedModel) -> int:
    """What an adapted model takes beside its base."""
    shared = {id(tensor) for tensor in _tensors(base)}
    return sum(tensor.nbytes for tensor in _tensors(module) if id(tensor) not in shared)


def _tensors(module: PreTrainedModel) -> Iterator[torch.Tensor]:
    return itertools.chain(module.parameters(), module.buffers())


def _tokenizer(base: LoadedModel, folder: Path) -> PreTrainedTokenizerBase:
    """The adapter's own, which may know another chat template, or the base's."""
    if not (folder / "tokenizer_config.json").is_file():
        return base.tokenizer
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    return tokenizer


def _require_words(name: str, module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer with tokens for which the base has no embedding."""
    embeddings: Any = module.get_input_embeddings()
    known = embeddings.weight.shape[0]
    if len(tokenizer) > known:
        raise LoadError(
            f"{name!r}: the adapter brings a tokenizer of {len(tokenizer):,} tokens, and the base has "
            f"embeddings for {known:,}. Merge the adapter into a model of its own: peft's merge_and_unload()."
        )


def _problems(info: Any) -> str:
    """What does not fit of the adapter's weights, in words; empty where all does."""
    found = {
        "are missing": sorted(info.missing_keys),
        "have no place in it": sorted(info.unexpected_keys),
        "have another shape": sorted(str(key[0]) for key in info.mismatched_keys),
    }
    words = [
        f"{len(keys)} weights {what} ({', '.join(keys[:SHOWN_NAMES])}{', ...' * (len(keys) > SHOWN_NAMES)})"
        for what, keys in found.items()
        if keys
    ]
    return "; ".join([*words, *map(str, info.error_msgs)])


def _misfit(name: str, base: LoadedModel, made_for: object, problems: str) -> FarmError:
    return LoadError(
        f"{name!r}: the adapter does not fit {base.name!r} ({type(base.module).__name__}): {problems}. "
        f"Its {CONFIG} says that it was made for {made_for!r}."
    )
