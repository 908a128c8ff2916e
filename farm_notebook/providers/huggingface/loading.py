"""A checkpoint becomes a ``LoadedModel``. Everything here blocks, and runs in a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm_notebook.config import HuggingFaceConfig
from farm_notebook.errors import FarmError, LoadError, OutOfMemoryError
from farm_notebook.lifecycle.version import next_generation
from farm_notebook.providers.huggingface.checkpoint import Checkpoint, is_trusted
from farm_notebook.providers.huggingface.failure import first_line, is_out_of_memory
from farm_notebook.providers.huggingface.loaded import LoadedModel
from farm_notebook.providers.huggingface.memory import free_bytes, living
from farm_notebook.providers.huggingface.progress import watched
from farm_notebook.providers.huggingface.reading import read_to
from farm_notebook.providers.huggingface.runtime import pick_device, pick_dtype, pick_quantization, quiet
from farm_notebook.providers.huggingface.sizing import need_bytes
from farm_notebook.providers.huggingface.source import Source
from farm_notebook.providers.huggingface.work import Halt, HaltedError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["load", "need_bytes"]

SHOWN_NAMES = 3
SPARE_BYTES = 256 << 20  # what generating takes beside the weights, at the very least


def load(
    source: Source,
    checkpoint: Checkpoint,
    settings: HuggingFaceConfig,
    halt: Halt,
    report: Callable[[int, int], None],
    *,
    digest: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    device_map: str | Mapping[str, str] | None = None,
    max_memory: Mapping[int | str, int] | None = None,
) -> LoadedModel:
    """Bring a checkpoint into memory; torch and transformers must be imported.

    Args:
        source: The name it goes by.
        checkpoint: Its files.
        settings: Device, number format, quantisation.
        halt: Looked at between two tensors.
        report: Called with the bytes that are loaded, and those that will be.
        digest: Of the files, where known.
        device: Another than that of the settings.
        dtype: Another number format than that of the settings.
        device_map: Instead of ``device``: where each part goes, as ``from_pretrained`` takes it.
        max_memory: The most bytes for each device, where parts are distributed.

    Raises:
        LoadError: The checkpoint is broken, not whole, or of a kind that transformers does not know.
        OutOfMemoryError: It does not fit.
        ConfigError: A setting does not fit this machine or this model.
        HaltedError: It was asked to stop.
    """
    place = _Place.of(device or settings.device, device_map, max_memory)
    options: dict[str, Any] = {
        "dtype": pick_dtype(dtype or settings.dtype),
        "quantization_config": pick_quantization(settings.quantization),
        "trust_remote_code": is_trusted(source, settings.trust_remote_code),
    }
    if options["quantization_config"] is None:
        del options["quantization_config"]
    need = need_bytes(checkpoint, settings, dtype=dtype)
    _require_room(source.name, need, place.device)
    with (
        quiet(),
        watched(halt, report, checkpoint.tensor_bytes, checkpoint.size_bytes),
        read_to(_reads_to(source, place.device)),
    ):
        try:
            module, info = _module(checkpoint, options | place.options)
            _require_whole(source.name, module, info)
            tokenizer = _tokenizer(checkpoint, trust=options["trust_remote_code"])
        except (FarmError, HaltedError):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise _too_large(source.name, need, place.device) from error
            raise LoadError(f"{source.name!r} does not load: {_reason(error, source)}") from error
    devices = tuple(dict.fromkeys(str(parameter.device) for parameter in module.parameters()))
    if "meta" in devices:  # where there is no room, accelerate leaves weights on the disk
        raise _too_large(source.name, need, None)
    module.requires_grad_(False)
    living.add(module)
    return LoadedModel(
        name=source.name,
        module=module,
        tokenizer=tokenizer,
        device=place.device or _first_device(module),
        devices=devices,
        dtype=str(module.dtype).removeprefix("torch."),
        folder=checkpoint.folder,
        digest=digest,
        context_tokens=_context_tokens(module.config, tokenizer),
        size_bytes=module.get_memory_footprint(),
        generation=next_generation(),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a model goes.

    Args:
        device: All of it; ``None`` for one that is distributed.
        options: What ``from_pretrained`` is told.
    """

    device: torch.device | None
    options: dict[str, Any]

    @classmethod
    def of(
        cls, name: str, device_map: str | Mapping[str, str] | None, max_memory: Mapping[int | str, int] | None
    ) -> _Place:
        if device_map is None or (isinstance(device_map, Mapping) and set(device_map) == {""}):
            device = pick_device(device_map[""] if device_map else name)
            return cls(device, {"device_map": {"": device}})
        whole = device_map if isinstance(device_map, str) else dict(device_map)
        return cls(None, {"device_map": whole, "max_memory": dict(max_memory) if max_memory else None})


def _reads_to(source: Source, device: torch.device | None) -> torch.device | None:
    """Where weights are read to, other than by transformers.

    On a processor those of the hub's cache are not: nobody changes a file there, so they need not be copied.
    """
    is_kept = device is not None and device.type == "cpu" and source.repository is not None
    return None if is_kept else device


def _module(checkpoint: Checkpoint, options: dict[str, Any]) -> tuple[PreTrainedModel, dict[str, Any]]:
    from transformers import AutoConfig

    place = _place(checkpoint)
    config = AutoConfig.from_pretrained(**place, trust_remote_code=options["trust_remote_code"])
    if checkpoint.gguf is None:  # a GGUF file's configuration is made again from its header
        options = options | {"config": config, "use_safetensors": not checkpoint.is_pickled}
    module, info = _auto_class(config).from_pretrained(
        **place,
        **options,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # which is not to ignore them, but to be told which they are
        local_files_only=True,
    )
    return module.eval(), info


def _first_device(module: PreTrainedModel) -> torch.device:
    """Where the inputs of a distributed model go."""
    embeddings: Any = module.get_input_embeddings()
    device: torch.device = embeddings.weight.device
    return device


def _place(checkpoint: Checkpoint) -> dict[str, Any]:
    place = {"pretrained_model_name_or_path": str(checkpoint.folder)}
    return place | ({"gguf_file": checkpoint.gguf} if checkpoint.gguf else {})


def _auto_class(config: PreTrainedConfig) -> Any:
    """The kind of model that the checkpoint says it is; one that is no kind of these can only embed."""
    import transformers
    from transformers.models.auto import modeling_auto as auto

    names = config.architectures or []
    remote = getattr(config, "auto_map", None) or {}
    causal, pictures = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    if "AutoModelForCausalLM" in remote or any(name in causal.values() for name in names) or not names:
        return transformers.AutoModelForCausalLM
    if any(name in pictures.values() for name in names):
        return transformers.AutoModelForImageTextToText
    return transformers.AutoModel


def _tokenizer(checkpoint: Checkpoint, *, trust: bool) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            **_place(checkpoint), trust_remote_code=trust, local_files_only=True
        )
        is_empty = len(tokenizer) == 0
    except Exception as error:
        raise LoadError(
            f"{str(checkpoint.folder)!r} has no tokenizer that loads: {first_line(error)}. "
            "Put the tokenizer.json that belongs to the model beside its weights."
        ) from error
    if is_empty:
        raise LoadError(f"{str(checkpoint.folder)!r} has no tokenizer: its vocabulary is empty.")
    return tokenizer


def _require_whole(name: str, module: PreTrainedModel, info: dict[str, Any]) -> None:
    """Refuse weights that transformers would fill with random numbers.

    The pooler of a model that only embeds may be missing: many checkpoints leave it out.
    """
    missing = sorted(key for key in info["missing_keys"] if module.can_generate() or "pooler." not in key)
    mismatched = sorted(
        str(key[0]) if isinstance(key, tuple) else str(key) for key in info["mismatched_keys"]
    )
    problems = [
        f"{len(keys)} weights {what} ({', '.join(keys[:SHOWN_NAMES])}{', ...' * (len(keys) > SHOWN_NAMES)})"
        for keys, what in (
            (missing, "are missing"),
            (mismatched, "have another shape than its configuration says"),
        )
        if keys
    ]
    problems += [str(message) for message in info.get("error_msgs") or ()]
    if problems:
        raise LoadError(f"{name!r} does not load as {type(module).__name__}: {'; '.join(problems)}.")


def _require_room(name: str, size_bytes: int, device: torch.device | None) -> None:
    """Refuse what cannot fit before it takes the memory of everything else: a kernel would just be killed."""
    free = free_bytes(device) if device is not None else None
    if free is not None and size_bytes + SPARE_BYTES > free:
        raise _too_large(name, size_bytes, device)


def _too_large(name: str, size_bytes: int, device: torch.device | None) -> OutOfMemoryError:
    free = free_bytes(device) if device is not None else None
    has = f"{free:,} are free" if free is not None else "not so many are free"
    return OutOfMemoryError(
        f"{name!r} has {size_bytes:,} bytes of weights, and on {device or 'all devices together'} {has}. "
        "Unload another model, take a smaller one, or set huggingface.dtype or huggingface.quantization.",
        provider="huggingface",
    )


def _context_tokens(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int | None:
    text = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"):
        if isinstance(found := getattr(text, name, None), int) and found > 0:
            return found
    length = tokenizer.model_max_length
    return int(length) if length < 1 << 40 else None  # "unlimited" is 10**30


def _reason(error: Exception, source: Source) -> str:
    """The first line of a foreign error, and the fix where it is a setting of ours."""
    if "trust_remote_code" in str(error):
        return (
            "it brings code of its own, which would run in this process. If you trust where it comes from, "
            f"allow it: FARM_HUGGINGFACE__TRUST_REMOTE_CODE='[\"{source.name}\"]', or "
            "huggingface.trust_remote_code in the configuration."
        )
    return first_line(error)
