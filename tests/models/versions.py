"""Versions of a model that answer differently, and a link that leads to one of them at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from farm_notebook.farm import AsyncFarm
from farm_notebook.request import Options
from farm_notebook.types import ChatRequest, Event, Finished, RequestKind, Started, TextDelta

if TYPE_CHECKING:
    import torch

__all__ = [
    "ARENAS_BYTES",
    "Link",
    "Versions",
    "change_weights",
    "copy_with_tail",
    "in_full",
    "said",
    "turned",
    "with_cities_swapped",
]

WEIGHTS = "model.safetensors"
ARENAS_BYTES = 64 << 20  # what malloc keeps for threads, now more and now less, whatever is in use


def in_full(otherwise: int, full: int) -> int:
    """How often something is done: ``full`` times where the environment has ``FULL_MODEL_TESTS=1``."""
    return full if os.environ.get("FULL_MODEL_TESTS") == "1" else otherwise


@dataclass(frozen=True, slots=True)
class Versions:
    """Two of one model, of which a question tells which is which.

    Args:
        provider: Loads them.
        first, second: Their places.
        question: Each answers it in its own way.
        kind: Of the question.
    """

    provider: str
    first: Path
    second: Path
    question: str = "What is the capital of Japan?"
    kind: RequestKind = "chat"

    def linked(self, path: Path) -> Link:
        """A link to the first of them."""
        link = Link(self, path)
        link.lead_to(self.first)
        return link


@dataclass(frozen=True, slots=True)
class Link:
    """A name under which either version is found, as ``latest`` is.

    Args:
        versions: That it may lead to.
        path: Of it.
    """

    versions: Versions
    path: Path

    @property
    def ref(self) -> str:
        """The model's full name."""
        return f"{self.versions.provider}:{self.path}"

    def request(self, farm: AsyncFarm, **options: Unpack[Options]) -> ChatRequest:
        """The question, to be answered in the same way each time."""
        wanted: Options = {"model": self.ref, "temperature": 0, "seed": 1, "max_tokens": 8, **options}
        return farm.request(self.versions.question, kind=self.versions.kind, **wanted)

    async def ask(self, farm: AsyncFarm) -> str:
        """The answer to it."""
        return said([event async for event in farm.events(self.request(farm))])

    async def logits(self, farm: AsyncFarm) -> torch.Tensor:
        """What the model in memory gives for the question, to the bit."""
        import torch

        async with farm.models.lease(self.ref) as leased:
            ids = leased.tokenizer(self.versions.question, return_tensors="pt")["input_ids"]
            with torch.inference_mode():
                found: torch.Tensor = leased.module(ids).logits
        return found

    async def texts(self, farm: AsyncFarm) -> dict[Path, str]:
        """What each version answers, by where it lies; the first is in memory afterwards."""
        texts = {}
        for place in (self.versions.second, self.versions.first):
            self.lead_to(place)
            async for _ in farm.models.reload(self.ref):
                pass
            texts[place.resolve()] = await self.ask(farm)
        assert len(set(texts.values())) == 2
        return texts

    def lead_to(self, target: Path) -> None:
        """Have it lead elsewhere, in one step."""
        new = self.path.with_name(f"{self.path.name}.new")
        new.symlink_to(target)
        new.replace(self.path)

    def turn(self) -> Path:
        """Have it lead to the other version; which that is."""
        first, second = self.versions.first, self.versions.second
        other = second if self.path.resolve() == first.resolve() else first
        self.lead_to(other)
        return other


def said(events: list[Event]) -> str:
    """The text of an answer, which begins once and ends once."""
    kinds = [type(event) for event in events if not isinstance(event, TextDelta)]
    assert kinds.count(Started) == 1
    assert kinds.count(Finished) == 1
    assert isinstance(events[-1], Finished)
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def change_weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write a checkpoint's weights anew, changed, in one step."""
    from safetensors.torch import load_file, save_file

    file = folder / WEIGHTS
    weights = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(weights)
    new = folder / "new.tmp"
    save_file(weights, new, metadata={"format": "pt"})
    new.replace(file)


def with_cities_swapped(source: Path, folder: Path) -> Path:
    """A copy of the tiny model that takes two words for each other, so that it has capitals wrong."""
    from transformers import AutoTokenizer

    shutil.copytree(source, folder)
    tokenizer = AutoTokenizer.from_pretrained(source)
    one, other = (tokenizer.encode(f" {city}", add_special_tokens=False)[-1] for city in ("Tokyo", "Berlin"))

    def swap(weights: dict[str, Any]) -> None:
        rows = weights["model.embed_tokens.weight"]
        rows[[one, other]] = rows[[other, one]]

    change_weights(folder, swap)
    return folder


def turned(source: Path, folder: Path) -> Path:
    """A copy of a model whose answers are others: what its last layers add, they take away."""
    shutil.copytree(source, folder)

    def turn(weights: dict[str, Any]) -> None:
        for layer in (27, 28, 29):
            weights[f"model.layers.{layer}.mlp.down_proj.weight"].neg_()

    change_weights(folder, turn)
    return folder


def copy_with_tail(source: Path, target: Path, filled_with: bytes) -> Path:
    """A copy of a GGUF file whose last weights are made of one byte again and again.

    Of zeros they add nothing, of 0xFF they are NaN in each of the number formats of floating point.
    """
    shutil.copyfile(source, target)
    with target.open("r+b") as file:
        file.seek(-3_100_000, os.SEEK_END)
        file.write(filled_with * 3_000_000)
    return target
