"""A model set aside in host memory, and brought back to its device by one copy.

What moves is the memory under the tensors: the modules, the parameters and whoever else refers to them (an
adapted model, which shares its base's) stay the same objects. All is copied before anything is switched over,
so a move that fails leaves everything as it was.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from traceback import clear_frames
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import LoadError, OutOfMemoryError
from farm_notebook.providers.huggingface.failure import is_out_of_memory
from farm_notebook.providers.huggingface.loaded import LoadedModel
from farm_notebook.providers.huggingface.memory import Pages, empty_caches, free_bytes, pin
from farm_notebook.providers.huggingface.work import Halt

if TYPE_CHECKING:
    import torch

__all__ = ["HostMemory", "Parked", "park", "parking_problem", "unpark"]

ALIGNMENT = 256  # bytes, of where a copy begins
GRAIN_BYTES = 16  # of the largest number; a tensor of any format begins at a multiple of its own


@dataclass(frozen=True, slots=True, eq=False)
class Parked:
    """A model in host memory. It still works there, if slowly.

    Args:
        loaded: As it was; its ``device`` is where it came from.
        host: What it was copied to; ``None`` of a model that was in host memory all along.
        size_bytes: Of its tensors, each counted once.
    """

    loaded: LoadedModel
    host: HostMemory | None
    size_bytes: int

    @property
    def is_pinned(self) -> bool:
        """Whether the device reads it by itself, at the full speed of the bus."""
        return self.host is not None and self.host.is_pinned

    @property
    def frees_device(self) -> bool:
        """Whether its place became free: not that of a model that runs on the processor."""
        return self.host is not None


class HostMemory:
    """A piece of host memory, pinned where CUDA is there.

    To pin takes several times as long as the copy; so who parks the same model again gives what it was in
    before. The system has it back when the last tensor in it is gone.

    Args:
        size_bytes: At least 1.

    Raises:
        MemoryError: There is not so much.
    """

    def __init__(self, size_bytes: int) -> None:
        import torch

        free = free_bytes(torch.device("cpu"))
        if free is not None and size_bytes > free:  # else the system would end the process at the first touch
            raise MemoryError
        self._pages = Pages(size_bytes)
        self.bytes = self._pages.bytes()
        if torch.cuda.is_available():
            self.bytes.fill_(0)  # all cores bring the pages in; pinning would do it with one
            self._pages.unpin = pin(self.bytes)

    @property
    def is_pinned(self) -> bool:
        """Whether a device reads and writes it by itself."""
        return self._pages.unpin is not None


@dataclass(slots=True, eq=False)
class _Region:
    """Memory that tensors of a model have in common: tied weights, a view and its base, or only one.

    Args:
        storage: Where it is, which may be larger.
        begin: In bytes; so aligned that any tensor may begin there.
        end: In bytes.
        tensors: All that lie in it.
    """

    storage: torch.UntypedStorage
    begin: int
    end: int
    tensors: list[torch.Tensor]

    @property
    def size_bytes(self) -> int:
        return self.end - self.begin

    @property
    def device(self) -> torch.device:
        return self.storage.device

    def memory(self) -> torch.Tensor:
        """Its bytes, not a copy of them."""
        import torch

        whole = torch.empty(0, dtype=torch.uint8, device=self.device)
        return whole.set_(self.storage, self.begin, (self.size_bytes,), (1,))

    def moved(self, place: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Each of its tensors, and what is the same in a copy of its bytes."""
        import torch

        pairs = []
        for tensor in self.tensors:
            begin = place.storage_offset() + _begin(tensor) - self.begin
            # A buffer that was made while answering is a tensor of another kind, and has to stay one.
            with torch.inference_mode(tensor.is_inference()):
                same = torch.empty(0, dtype=tensor.dtype, device=place.device)
                same.set_(
                    place.untyped_storage(), begin // tensor.element_size(), tensor.size(), tensor.stride()
                )
            pairs.append((tensor, same))
        return pairs


def park(
    loaded: LoadedModel, halt: Halt, *, host: HostMemory | None = None, copies: bool | None = None
) -> Parked:
    """Move a model to host memory and free its place on the device; blocks for one copy.

    Nothing may run meanwhile on it, nor on a model that shares its tensors, which moves with it.

    Args:
        loaded: Not used by an engine.
        halt: Looked at between two tensors.
        host: What it was parked in before, if that is free; other memory is taken where it is too small.
        copies: Whether there is something to copy; ``None`` means where the device is not the processor.

    Raises:
        LoadError: It cannot be moved; see ``parking_problem``.
        OutOfMemoryError: The host has not so much memory; the model is as it was.
        HaltedError: It was asked to stop; the model is as it was.
    """
    if problem := parking_problem(loaded):
        raise LoadError(f"{loaded.name!r} cannot be set aside in host memory: {problem}. Unload it instead.")
    regions = _regions(loaded)
    if copies is None:
        copies = any(region.device.type != "cpu" for region in regions)
    if not copies:
        return Parked(loaded, None, sum(region.size_bytes for region in regions))
    if loaded.device.type != "cpu":  # a model that shares some of these may have taken them along
        regions = [region for region in regions if region.device.type != "cpu"]
    *starts, size = itertools.accumulate((_aligned(region.size_bytes) for region in regions), initial=0)
    places: list[torch.Tensor] = []
    try:
        if host is None or host.bytes.nbytes < size:
            host = HostMemory(max(1, size))
        for start, region in zip(starts, regions, strict=True):
            places.append(host.bytes[start : start + region.size_bytes])
        _move(regions, places, halt)
    except Exception as error:
        host = None
        places.clear()
        clear_frames(error.__traceback__)  # or it would keep that memory as long as it is looked at
        if is_out_of_memory(error):
            raise _too_large(loaded, f"{size:,} bytes of host memory to be set aside") from error
        raise
    regions.clear()  # and with them what was on the device
    empty_caches()
    return Parked(loaded, host, size)


def unpark(parked: Parked, device: torch.device, halt: Halt) -> LoadedModel:
    """Bring a parked model to a device; blocks for one copy.

    Args:
        parked: Its ``host`` is free when this has succeeded.
        device: Where it came from, or another.
        halt: Looked at between two tensors.

    Returns:
        The same module, bit for bit as it was.

    Raises:
        OutOfMemoryError: It does not fit; the model is parked as before.
        HaltedError: It was asked to stop; the model is parked as before.
    """
    import torch

    loaded = parked.loaded
    exact = torch.empty(0, device=device).device  # with its index
    inside = parked.host.bytes.data_ptr() if parked.host is not None else None
    regions = [
        region for region in _regions(loaded) if region.device != exact or region.storage.data_ptr() == inside
    ]
    size = sum(region.size_bytes for region in regions)
    places: list[torch.Tensor] = []
    try:
        _reserve(size, exact)
        for region in regions:
            places.append(torch.empty(region.size_bytes, dtype=torch.uint8, device=exact))
        _move(regions, places, halt)
    except Exception as error:
        places.clear()
        clear_frames(error.__traceback__)  # or it would keep that memory as long as it is looked at
        empty_caches()
        if is_out_of_memory(error):
            raise _too_large(loaded, f"{size:,} bytes on {device} to be brought back") from error
        raise
    return replace(loaded, device=device, devices=(str(exact),))


def parking_problem(loaded: LoadedModel) -> str | None:
    """Why a model cannot be parked, in words; ``None`` where it can."""
    import torch

    plain = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
    quantization = getattr(loaded.module.config, "quantization_config", None)
    method = str(_field(quantization, "quant_method")).rpartition(".")[2].lower()
    if quantization is not None and method != "gguf":  # whose numbers are plain ones once they are loaded
        return f"its weights are quantised ({method}), and what belongs to them cannot be moved with them"
    if loaded.is_spread:
        return f"its weights lie on several devices ({', '.join(loaded.devices)})"
    for tensor in _tensors(loaded):
        if type(tensor) not in plain or tensor.layout != torch.strided or tensor.is_meta:
            return f"it has tensors of the kind {type(tensor).__name__} on {tensor.device}"
    return None


def _tensors(loaded: LoadedModel) -> list[torch.Tensor]:
    """All that its modules hold, each once: also what is neither a parameter nor a buffer."""
    import torch

    found = {}
    for module in loaded.module.modules():
        inside: tuple[dict[str, Any], ...] = (module._parameters, module._buffers, vars(module))
        for tensor in itertools.chain.from_iterable(held.values() for held in inside):
            if isinstance(tensor, torch.Tensor):
                found[id(tensor)] = tensor
    return list(found.values())


def _regions(loaded: LoadedModel) -> list[_Region]:
    """The memory of a model's tensors, none of it twice."""
    tensors = [tensor for tensor in _tensors(loaded) if tensor.numel()]
    tensors.sort(key=lambda tensor: (tensor.untyped_storage().data_ptr(), _begin(tensor)))
    regions: list[_Region] = []
    for tensor in tensors:
        storage, begin = tensor.untyped_storage(), _begin(tensor)
        steps = zip(tensor.size(), tensor.stride(), strict=True)
        end = begin + (1 + sum((size - 1) * stride for size, stride in steps)) * tensor.element_size()
        last = regions[-1] if regions else None
        if last and last.storage.data_ptr() == storage.data_ptr() and begin < last.end:
            last.end = max(last.end, end)
            last.tensors.append(tensor)
        else:
            regions.append(_Region(storage, begin - begin % GRAIN_BYTES, end, [tensor]))
    return regions


def _move(regions: Sequence[_Region], places: Sequence[torch.Tensor], halt: Halt) -> None:
    """Copy all regions, and then have their tensors lie in the copies."""
    import torch

    try:
        for region, place in zip(regions, places, strict=True):
            halt.check()
            place.copy_(region.memory(), non_blocking=True)
    finally:  # also where it was broken off: nothing may be freed that is still copied
        for device in {region.device for region in regions} | {place.device for place in places}:
            if device.type != "cpu":
                torch.accelerator.current_stream(device).synchronize()
    pairs = [pair for region, place in zip(regions, places, strict=True) for pair in region.moved(place)]
    before = [tensor.data for tensor, _ in pairs]
    try:
        for tensor, same in pairs:
            tensor.data = same
    except BaseException:
        for (tensor, _), old in zip(pairs, before, strict=True):
            tensor.data = old
        raise


def _reserve(size: int, device: torch.device) -> None:
    """Have torch take a device's memory at once, from which it then hands out the pieces.

    To ask the driver for each would take longer than the copy.
    """
    import torch

    if device.type == "cuda":
        with suppress(torch.OutOfMemoryError):  # what is missing will show
            torch.empty(size, dtype=torch.uint8, device=device)


def _begin(tensor: torch.Tensor) -> int:
    return int(tensor.storage_offset()) * tensor.element_size()


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _too_large(loaded: LoadedModel, what: str) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"{loaded.name!r} needs {what}, and so many are not free. Unload another model.",
        provider="huggingface",
    )


def _field(config: Any, name: str) -> object:
    return config.get(name) if isinstance(config, dict) else getattr(config, name, None)
