"""Which GPUs CUDA shows to this process, and in which order: what ``CUDA_VISIBLE_DEVICES`` says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Gpu", "visible"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or a MIG instance, which is a part of one.

    Args:
        uuid: ``GPU-...`` or ``MIG-...``, as the driver writes it.
        name: As its maker calls it.
        handle: The driver's.
        whole: The handle of the GPU that this is a part of, or its own.
        legacy_name: What a part was called before driver 470, ``MIG-GPU-.../1/0``.
        parts: The MIG instances that it is cut into; none where it is whole.
    """

    uuid: str
    name: str
    handle: Any
    whole: Any
    legacy_name: str = ""
    parts: tuple[Gpu, ...] = ()

    @property
    def is_part(self) -> bool:
        """Whether it is a MIG instance."""
        return self.uuid.startswith("MIG-")


def visible(gpus: Sequence[Gpu], wanted: str | None) -> tuple[Gpu, ...]:
    """The GPUs as CUDA numbers them, from 0 on.

    Args:
        gpus: All of them, in the order of the bus.
        wanted: ``CUDA_VISIBLE_DEVICES``: numbers in that order, or beginnings of uuids; ``None`` is all.

    Returns:
        As CUDA reads it: what stands behind the first that does not exist is ignored, naming one twice leaves
        none, a GPU that is cut into instances stands for its first, and a process sees one instance at most.

    Source: https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables and
        https://docs.nvidia.com/datacenter/tesla/mig-user-guide/#cuda-visible-devices
    """
    chosen: list[Gpu] = list(gpus)
    if wanted is not None:
        chosen = []
        for word in wanted.split(","):
            if (found := _find(gpus, word.strip())) is None:
                break
            chosen.append(found)
    if len({each.uuid for each in chosen}) < len(chosen):
        return ()
    shown = [each.parts[0] if each.parts else each for each in chosen]
    first_part = next((each for each in shown if each.is_part), None)
    return tuple(each for each in shown if not each.is_part or each is first_part)


def _find(gpus: Sequence[Gpu], word: str) -> Gpu | None:
    if match := re.match(r"\d+", word):
        return gpus[number] if (number := int(match[0])) < len(gpus) else None
    if not word.startswith(("GPU-", "MIG-")):
        return None
    everything = [*gpus, *(part for gpu in gpus for part in gpu.parts)]
    found = [each for each in everything if each.uuid.startswith(word) or each.legacy_name == word]
    return found[0] if len(found) == 1 else None
