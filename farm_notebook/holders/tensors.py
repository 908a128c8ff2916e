"""The memory of torch's tensors: which of it is still there, and which tensors share it or remember it.

torch is never imported for it: whoever has a tensor has loaded it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any

from farm_notebook.holders.references import is_a

__all__ = ["StorageWatch", "storages_of", "tensors_on", "tensors_with_history"]


@dataclass(frozen=True, slots=True, eq=False)
class StorageWatch:
    """The memory behind tensors, known by its address and not kept.

    Args:
        address: Of the storage; no other gets it while this is watched.
        size_bytes: Of the storage.
        device: Where it lies, as torch names it.
        watch: torch's own weak reference to it.
    """

    address: int
    size_bytes: int
    device: str
    watch: Any

    @property
    def is_alive(self) -> bool:
        """Whether the memory has not been given back."""
        return not self.watch.expired()


def storages_of(module: Any) -> tuple[StorageWatch, ...]:
    """The memory of a module's parameters and buffers, each piece once."""
    found: dict[int, StorageWatch] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        address = _address(tensor)
        if address is not None and address not in found and tensor.device.type != "meta":
            from torch.multiprocessing.reductions import StorageWeakRef

            storage = tensor.untyped_storage()
            watch: Any = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
            found[address] = StorageWatch(address, storage.nbytes(), str(storage.device), watch)
    return tuple(found.values())


def tensors_on(addresses: Set[int]) -> list[object]:
    """All tensors that lie in some pieces of memory: views, detached ones, those of a ``state_dict()``."""
    return [] if "torch" not in sys.modules else [each for each in _tensors() if _address(each) in addresses]


def tensors_with_history(parameters: Set[int]) -> list[object]:
    """All tensors that remember, for a backward pass, that they were computed from some parameters.

    Args:
        parameters: By their ids.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return []
    known: set[Any] = set()
    with torch._C.DisableTorchFunctionSubclass():
        graphs = [(each, each.grad_fn) for each in _tensors() if each.grad_fn is not None]
        return [each for each, node in graphs if _leads(node, parameters, known)]


def _leads(start: Any, parameters: Set[int], known: set[Any]) -> bool:
    """Whether a graph's node leads to a parameter; the nodes that were found to are known to the next."""
    path, seen = [start], set()
    while path:
        node = path.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        is_leaf = type(node).__name__ == "AccumulateGrad"
        if node in known or (is_leaf and id(node.variable) in parameters):
            known.add(start)
            return True
        path.extend(below for below, _ in node.next_functions)
    return False


def _tensors() -> Iterator[Any]:
    """All tensors of this process; a class is asked once whether it is one of them."""
    kind = sys.modules["torch"].Tensor
    are_tensors: dict[type, bool] = {}
    for each in gc.get_objects():
        cls = type(each)
        if cls not in are_tensors:
            are_tensors[cls] = is_a(each, kind)
        if are_tensors[cls]:
            yield each


def _address(tensor: Any) -> int | None:
    """Of a tensor's storage, for which no object is made; ``None`` where it has none, as a sparse one."""
    try:
        address: int = sys.modules["torch"]._C._storage_address(tensor)
    except RuntimeError:
        return None
    return address
