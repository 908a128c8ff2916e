"""torch and transformers: brought into the process without holding it up, and what they run on."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    import torch

__all__ = [
    "INSTALL",
    "import_runtime",
    "missing_packages",
    "no_full_collections",
    "pick_device",
    "pick_dtype",
    "pick_quantization",
    "quiet",
    "require_packages",
]

INSTALL = 'pip install "farm-notebook[huggingface]"'
_PACKAGES = ("torch", "transformers", "accelerate", "safetensors")
_import_lock = threading.Lock()

NEVER = 1 << 30  # young collections before a full one
_collections_lock = threading.Lock()
_putting_off = 0
_thresholds = gc.get_threshold()


def missing_packages() -> list[str]:
    """What the provider needs and is not installed; nothing of it is imported."""
    return [name for name in _PACKAGES if find_spec(name) is None]


def require_packages() -> None:
    """Raise ``MissingExtraError`` where something is not installed."""
    if missing := missing_packages():
        raise MissingExtraError(f"The huggingface provider needs {', '.join(missing)}: {INSTALL}")


def import_runtime() -> None:
    """Import torch and transformers; to be called in a thread, since that takes seconds.

    Loading torch's shared libraries would hold the interpreter's lock for up to 0.3 s, and with it the kernel
    and the farm's loop; here it is done without the lock. See ``no_full_collections`` too.

    Raises:
        MissingExtraError: Something of it is not installed.
        ImportError: It is installed, but broken.
    """
    require_packages()
    with _import_lock:
        if "transformers.models.auto.modeling_auto" in sys.modules:
            return
        _preload_torch()
        import torch  # noqa: F401
        import transformers  # noqa: F401
        from transformers.generation import utils  # noqa: F401
        from transformers.models.auto import modeling_auto  # noqa: F401


@contextmanager
def no_full_collections() -> Iterator[None]:
    """Put full garbage collections off until this is left.

    The many objects of torch and transformers set one off again and again while they are imported, and each
    holds everything up for 0.1 s or more. Collections of young objects go on, so that a cell that runs
    meanwhile keeps its memory in bounds.
    """
    global _putting_off, _thresholds
    with _collections_lock:
        if not _putting_off:
            _thresholds = gc.get_threshold()
            gc.set_threshold(*_thresholds[:2], NEVER)
        _putting_off += 1
    try:
        yield
    finally:
        with _collections_lock:
            _putting_off -= 1
            if not _putting_off and gc.get_threshold()[2] == NEVER:  # else the user set others meanwhile
                gc.set_threshold(*_thresholds)


def _preload_torch() -> None:
    """Load torch's libraries as its own ``__init__`` will, but by a foreign call, which frees the lock.

    Where this does not work, on Windows or with another layout of the files, the import itself loads them.
    """
    spec = find_spec("torch")
    if "torch" in sys.modules or spec is None or spec.origin is None or sys.platform == "win32":
        return
    with suppress(OSError, AttributeError):
        dlopen = ctypes.CDLL(None).dlopen
        dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
        suffix = "dylib" if sys.platform == "darwin" else "so"
        for name, flags in (("torch_global_deps", os.RTLD_GLOBAL), ("torch", os.RTLD_LOCAL)):
            library = Path(spec.origin).with_name("lib") / f"lib{name}.{suffix}"
            dlopen(os.fsencode(library), os.RTLD_NOW | flags)


def pick_device(name: str) -> torch.device:
    """The device of a setting: ``auto``, or as torch names it.

    Raises:
        ConfigError: torch knows no such device, or this machine has none.
    """
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return accelerator or torch.device("cpu")
    valid = ["auto", "cpu"]
    if accelerator is not None:
        count = torch.accelerator.device_count()
        valid += [accelerator.type, *(f"{accelerator.type}:{index}" for index in range(count))]
    if name in valid:
        return torch.device(name)
    raise ConfigError(
        f"huggingface.device={name!r} is not a device of this machine. Valid here: {', '.join(valid)}."
    )


def pick_dtype(name: str) -> torch.dtype | str:
    """The number format of a setting: ``auto``, or as torch names it.

    Raises:
        ConfigError: torch has no such floating-point format.
    """
    import torch

    found = getattr(torch, name, None)
    if name == "auto" or (isinstance(found, torch.dtype) and found.is_floating_point):
        return found or name
    raise ConfigError(
        f"huggingface.dtype={name!r} is no floating-point format of torch. "
        "Valid: auto, float32, bfloat16, float16, ..."
    )


def pick_quantization(settings: Mapping[str, Any] | None) -> Any:
    """transformers' configuration object for a quantisation; ``None`` where there are no settings.

    Raises:
        ConfigError: No such method, or arguments it does not take.
    """
    if settings is None:
        return None
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AutoQuantizationConfig

    method = settings.get("quant_method")
    if method not in {*AUTO_QUANTIZATION_CONFIG_MAPPING, "bitsandbytes"}:
        raise ConfigError(
            f"huggingface.quantization has the quant_method {method!r}. "
            f"Valid: {', '.join(sorted(AUTO_QUANTIZATION_CONFIG_MAPPING))}."
        )
    try:
        return AutoQuantizationConfig.from_dict(dict(settings))
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(f"huggingface.quantization={dict(settings)!r} is not valid: {error}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what transformers and what it uses log in this thread out of the user's cell.

    Other threads' records pass, so that what the user does with transformers is not changed.
    """
    thread = threading.get_ident()

    def is_other(record: logging.LogRecord) -> bool:
        return record.thread != thread

    handlers = [
        handler
        for name in ("transformers", "huggingface_hub")
        for handler in logging.getLogger(name).handlers
    ]
    if logging.lastResort is not None:  # which writes what accelerate has to say
        handlers.append(logging.lastResort)
    for handler in handlers:
        handler.addFilter(is_other)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_other)
