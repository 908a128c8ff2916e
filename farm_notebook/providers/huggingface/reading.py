"""Weights are read from safetensors files straight to where they belong.

transformers maps the files into memory instead. On a processor the weights then *are* the file: who writes it
anew in place changes the model that answers, and who cuts it off ends the process. To a CUDA device they go
through memory that it cannot read by itself. All else is left to transformers: names, ties, number formats,
conversions.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import LoadError
from farm_notebook.providers.huggingface.checkpoint import read_header, tensors_in
from farm_notebook.providers.huggingface.memory import Pages
from farm_notebook.providers.huggingface.stored import StoredTensor

if TYPE_CHECKING:
    import torch

__all__ = ["STAGED_BYTES", "read_to"]

STAGED_BYTES = 16 << 20  # at once, of which a thread has two; torch rounds them up to a power of two
PAGED_BYTES = 1 << 20  # and more have pages of their own
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}

_readers = threading.local()
_lock = threading.Lock()


@contextmanager
def read_to(device: torch.device | None, *, staged: bool | None = None) -> Iterator[None]:
    """Have what transformers loads in this thread be read, not mapped.

    Args:
        device: Of the whole model; ``None``, or another than ``cpu`` and one of CUDA, leaves transformers to
            itself.
        staged: Whether bytes go through memory that the device reads; ``None`` means where it is not the
            processor.
    """
    if device is None or device.type not in ("cpu", "cuda") or not hasattr(os, "preadv"):  # as on Windows
        yield
        return
    _install()
    _readers.reader = _Reader(device, staged=device.type != "cpu" if staged is None else staged)
    try:
        yield
    finally:
        del _readers.reader


class _Reader:
    """Makes tensors of the bytes of files, in any thread.

    Args:
        device: Where they go.
        staged: See ``read_to``.
    """

    def __init__(self, device: torch.device, *, staged: bool) -> None:
        self._device = device
        self._is_staged = staged
        self._own = threading.local()

    def tensor(self, file: _File, at: int, shape: list[int], dtype: torch.dtype) -> torch.Tensor:
        """Read one that begins at a byte of a file."""
        import torch

        size = math.prod(shape) * dtype.itemsize
        if self._device.type == "cpu" and size >= PAGED_BYTES:
            tensor = Pages(size).bytes().view(dtype).view(shape)
        else:
            tensor = torch.empty(shape, dtype=dtype, device=self._device)
        memory = tensor.view(-1).view(torch.uint8)
        if not self._is_staged:
            file.fill(memory, at)
            return tensor
        if not hasattr(self._own, "staging"):
            self._own.staging = _Staging(self._device)
        self._own.staging.send(file, at, memory)
        return tensor


class _Staging:
    """The way of one thread to a device: while one piece is sent, the next is read.

    Args:
        device: Of CUDA; of any other the pieces are just copied.
    """

    def __init__(self, device: torch.device) -> None:
        import torch

        is_cuda = device.type == "cuda"
        cuda: Any = torch.cuda  # without types
        self._device = device
        self._pieces = [torch.empty(STAGED_BYTES, dtype=torch.uint8, pin_memory=is_cuda) for _ in range(2)]
        self._stream = cuda.Stream(device) if is_cuda else None
        self._sent = [cuda.Event() for _ in range(2)] if is_cuda else None

    def send(self, file: _File, at: int, memory: torch.Tensor) -> None:
        """Read bytes of a file into memory of the device; they are there when this returns."""
        import torch

        if self._stream is not None:  # what was in that memory before may be in use still
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
        for number, begin in enumerate(range(0, memory.nbytes, STAGED_BYTES)):
            part = memory[begin : begin + STAGED_BYTES]
            piece = self._pieces[number % 2][: part.nbytes]
            if self._sent is not None:
                self._sent[number % 2].synchronize()
            file.fill(piece, at + begin)
            with torch.cuda.stream(self._stream) if self._stream is not None else nullcontext():
                part.copy_(piece, non_blocking=True)
                if self._sent is not None:
                    self._sent[number % 2].record()
        if self._stream is not None:
            self._stream.synchronize()


class _File:
    """An open file, until the last who may read it is gone: threads may outlive the load."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def fill(self, memory: torch.Tensor, at: int) -> None:
        """Read as many bytes as fit into memory of the host."""
        content: Any = memory.numpy()  # over the same bytes
        view = memoryview(content)
        while view:
            count = os.preadv(self._descriptor, [view], at)
            if not count:
                raise LoadError(f"{self._path!r} was cut off while it was read. Load it again.")
            view, at = view[count:], at + count


class _Opened:
    """What stands in for safetensors' ``safe_open``; of its tensors, those that are read whole are read here.

    Args:
        opened: The one that it stands for.
        path: Of the file.
        reader: Reads.
    """

    def __init__(self, opened: Any, path: str, reader: _Reader) -> None:
        from pathlib import Path

        header = read_header(Path(path))
        self._opened = opened
        self._file = _File(path)
        self._reader = reader
        self._start = 8 + len(header)
        self._tensors = tensors_in(header)

    def get_slice(self, name: str) -> _Slice:
        return _Slice(self, self._opened.get_slice(name), self._tensors[name])

    def read(self, stored: StoredTensor, shape: list[int]) -> torch.Tensor:
        import torch

        dtype: torch.dtype = getattr(torch, DTYPES[stored.dtype])
        return self._reader.tensor(self._file, self._start + stored.begin, shape, dtype)

    def __enter__(self) -> _Opened:
        self._opened.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)


class _Slice:
    """A tensor that is not read yet.

    Args:
        opened: Reads it.
        mapped: safetensors' own, which knows all else.
        stored: Where it is.
    """

    def __init__(self, opened: _Opened, mapped: Any, stored: StoredTensor) -> None:
        self._opened = opened
        self._mapped = mapped
        self._stored = stored

    def __getitem__(self, index: Any) -> Any:
        if index is not Ellipsis or self._stored.dtype not in DTYPES or not self._stored.elements:
            return self._mapped[index].clone()  # a part, or a rare format
        return self._opened.read(self._stored, self._mapped.get_shape())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mapped, name)


def _install() -> None:
    """Let ``from_pretrained`` open files as the thread it runs in wants it, in others as ever."""
    from transformers import modeling_utils

    with _lock:
        if getattr(_install, "done", False):
            return
        opening = vars(modeling_utils)["safe_open"]

        def open_file(path: Any, *args: Any, **options: Any) -> Any:
            opened = opening(path, *args, **options)
            reader = getattr(_readers, "reader", None)
            return opened if reader is None else _Opened(opened, os.fspath(path), reader)

        vars(modeling_utils)["safe_open"] = open_file
        _install.done = True  # type: ignore[attr-defined]  # nothing else tells whether the hook is ours
