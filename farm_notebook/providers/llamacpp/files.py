"""Which files a model's name means: its weights, its adapters, its projector."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from farm_notebook.config import FarmConfig
from farm_notebook.errors import ModelNotFoundError
from farm_notebook.weights.catalog import CATALOG, CatalogModel, lookup
from farm_notebook.weights.digest import file_digest
from farm_notebook.weights.fetch import local_path
from farm_notebook.weights.places import place_of

__all__ = ["ModelFiles", "catalog_model", "files_of", "fingerprint_of", "model_digest"]

SUFFIX = ".gguf"
MAGIC = b"GGUF"
PROJECTORS = "mmproj*.gguf"  # what llama.cpp's converter calls them


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files that make one model.

    Args:
        weights: The model itself.
        adapters: LoRA files, each applied with its own scale.
        projector: What turns images into the model's embeddings.
    """

    weights: Path
    adapters: tuple[Path, ...] = ()
    projector: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them, the weights first."""
        return (*self.answering, *([self.projector] if self.projector else []))

    @property
    def answering(self) -> tuple[Path, ...]:
        """Those that decide what it answers to a text, which are what a user names."""
        return (self.weights, *self.adapters)

    @property
    def name(self) -> str:
        """Their file names, for messages."""
        return " + ".join(path.name for path in self.answering)


def files_of(model: str, config: FarmConfig, *, loaded: Set[ModelFiles] = frozenset()) -> ModelFiles:
    """The files of a model; those of a catalogue model may yet have to be fetched.

    Args:
        model: A name of the catalogue or the path of a ``.gguf`` file, and after each ``+`` the path of a
            LoRA adapter. A file whose own name has a ``+`` in it is taken as it is.
        config: Gives the folder of fetched models, and the projectors that were set.
        loaded: Files that may be missing: what is loaded may be deleted by now.

    Raises:
        ModelNotFoundError: There is no such model, or one of its files is missing.
    """
    known = {path for files in loaded for path in files.paths}
    base, adapters = _split(model, known)
    weights = _file(base, known) if base.endswith(SUFFIX) else local_path(lookup(base), config)
    return ModelFiles(
        weights, tuple(_file(name, known) for name in adapters), _projector(base, weights, config, known)
    )


def catalog_model(model: str) -> CatalogModel | None:
    """The catalogue's entry that a name starts with, if any."""
    return CATALOG.get(_split(model)[0])


async def model_digest(model: str, files: ModelFiles, cache_dir: Path) -> str:
    """SHA-256 of the file of a model; of several, that of their digests one below the other.

    Args:
        model: What the user wrote.
        files: The files that it means.
        cache_dir: Where digests are remembered.
    """
    known = catalog_model(model)
    weights = known.sha256 if known else await file_digest(files.weights, cache_dir)
    digests = [weights, *[await file_digest(path, cache_dir) for path in files.paths[1:]]]
    return weights if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def fingerprint_of(files: ModelFiles) -> str | None:
    """What tells these files from others in their place: where each is, its size, and when it was written.

    Returns:
        ``None`` where one is missing, or is no GGUF file yet.
    """
    told = []
    try:
        for path in files.paths:
            place = path.resolve()
            with place.open("rb") as stream:
                if stream.read(len(MAGIC)) != MAGIC:
                    return None
                state = os.fstat(stream.fileno())
            told.append(f"{place} {state.st_ino} {state.st_size} {state.st_mtime_ns}")
    except FileNotFoundError:
        return None
    return "\n".join(told)


def _split(model: str, known: Set[Path] = frozenset()) -> tuple[str, tuple[str, ...]]:
    """A model's name and those of its adapters."""
    if "+" not in model or not model.endswith(SUFFIX) or _is_file(model, known):
        return model, ()
    places = [place for place, letter in enumerate(model) if letter == "+"]
    cuts = [
        (model[:place], model[place + 1 :])
        for place in reversed(places)
        if model[:place] in CATALOG or model[:place].endswith(SUFFIX)
    ]
    if not cuts:
        return model, ()
    base, adapter = next((cut for cut in cuts if _is_file(cut[1], known)), cuts[0])
    base, others = _split(base, known)
    return base, (*others, adapter)


def _is_file(name: str, known: Set[Path]) -> bool:
    try:
        return (path := place_of(name)) in known or path.is_file()
    except (OSError, ValueError):  # too long, or with a NUL in it
        return False


def _file(name: str, known: Set[Path]) -> Path:
    if _is_file(name, known):
        return place_of(name)
    try:
        looked_for = f" (looked for {str(place_of(name))!r})"
    except (OSError, ValueError):
        looked_for = ": no file can have that name"
    raise ModelNotFoundError(f"There is no file {name!r}{looked_for}.")


def _projector(base: str, weights: Path, config: FarmConfig, known: Set[Path]) -> Path | None:
    """The projector that was set for a model, else the only one that lies beside a local file."""
    projectors = config.llamacpp.projectors
    for name in (base, str(weights)):
        if name in projectors:
            path = projectors[name]
            return None if path is None else _file(str(path), known)
    if base in CATALOG:
        return None
    beside = [path for path in weights.parent.glob(PROJECTORS) if path != weights]
    return beside[0] if len(beside) == 1 else None
