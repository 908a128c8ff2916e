"""Where a model's files are, by the name a user wrote: a folder, a GGUF file, or a repository of the hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from farm_notebook.errors import ModelNotFoundError
from farm_notebook.weights.places import place_of

__all__ = ["Source", "locate"]

PATH_STARTS = ("./", "../", "~", "/", ".\\", "..\\")
_REPOSITORY = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Source:
    """One model. Two names of the same place are equal.

    Args:
        name: As the user wrote it.
        folder: On this machine; a link is not followed, so that it may be made to lead elsewhere.
        gguf: The file in that folder, where the model is one.
        repository: On the hub, ``owner/name``; there is either this or a folder.
        adapter: Of LoRA, which is put on it.
    """

    name: str = field(compare=False)
    folder: Path | None = None
    gguf: str | None = None
    repository: str | None = None
    adapter: Source | None = None

    @property
    def is_gone(self) -> bool:
        """Whether its place is empty, or that of its adapter."""
        if self.adapter is not None and self.adapter.is_gone:
            return True
        return self.folder is not None and not (self.folder / (self.gguf or "")).exists()

    @property
    def base(self) -> Source | None:
        """What the adapter is put on; ``None`` where there is no adapter."""
        if self.adapter is None:
            return None
        return replace(self, name=self.name.removesuffix(f"+{self.adapter.name}"), adapter=None)


def locate(model: str) -> Source:
    """The place that a name means; only folders and GGUF files are looked for.

    A name is a path if it begins like one (``./``, ``../``, ``~``, ``/``), ends in ``.gguf`` or is that of a
    folder here with a ``config.json``; else it is a repository's. Behind the last ``+`` that has a
    model before it stands an adapter.

    Raises:
        ModelNotFoundError: There is no such file or folder, or a repository cannot have this name.
    """
    place = _locate(model)
    if place is not None:
        return place
    for plus in reversed([place.start() for place in re.finditer(r"\+", model)]):
        base, adapter = model[:plus], model[plus + 1 :]
        if base and adapter and (on := _locate(base)) and (top := _locate(adapter)):
            return replace(on, name=model, adapter=top)
    raise ModelNotFoundError(
        f"There is no model {model!r}: a model is a folder (./checkpoint), a file (./model.gguf) or a "
        "repository of the hub (owner/name), and may be followed by +ADAPTER."
    )


def _locate(model: str) -> Source | None:
    path = Path(os.path.expanduser(model))  # pathlib's own raises on an unknown ~user
    if model.endswith(".gguf"):
        if not path.is_file() and "+" not in model:
            raise ModelNotFoundError(f"There is no file {model!r} (looked for {str(path.resolve())!r}).")
        place = place_of(model)
        return Source(model, folder=place.parent, gguf=place.name) if place.is_file() else None
    if model.startswith(PATH_STARTS) or path.is_absolute():
        if path.is_dir():
            return Source(model, folder=place_of(model))
        if "+" not in model:
            raise ModelNotFoundError(f"There is no folder {model!r} (looked for {str(path.resolve())!r}).")
        return None
    if (path / "config.json").is_file() or (path / "adapter_config.json").is_file():
        return Source(model, folder=place_of(model))
    return Source(model, repository=model) if _REPOSITORY.fullmatch(model) else None
