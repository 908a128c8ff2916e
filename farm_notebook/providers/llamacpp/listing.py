"""What the embedded provider lists: the catalogue, and what else is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from farm_notebook.config import FarmConfig
from farm_notebook.providers.llamacpp.abilities import ANY_MODEL, Abilities
from farm_notebook.providers.llamacpp.files import ModelFiles
from farm_notebook.types import ModelInfo, ModelRef
from farm_notebook.weights.catalog import CATALOG, CatalogModel
from farm_notebook.weights.fetch import is_present, local_path

__all__ = ["model_infos"]


def model_infos(
    provider: str, config: FarmConfig, loaded: Mapping[ModelFiles, Abilities | None]
) -> list[ModelInfo]:
    """The catalogue's models, then the loaded ones that are not of it or have an adapter.

    Args:
        provider: The provider's name.
        config: Gives the folder of fetched models.
        loaded: The loaded models, and what they can do where they were asked.
    """
    known = {ModelFiles(local_path(model, config)): model for model in CATALOG.values()}
    others = sorted((files for files in loaded if files not in known), key=lambda files: files.answering)
    names = {files.weights: model.name for files, model in known.items()}
    return [
        *(_catalog_info(provider, config, model, files in loaded) for files, model in known.items()),
        *(_loaded_info(provider, names.get(files.weights), files, loaded[files]) for files in others),
    ]


def _catalog_info(provider: str, config: FarmConfig, model: CatalogModel, is_loaded: bool) -> ModelInfo:
    is_here = is_present(model, config)
    return ModelInfo(
        ModelRef(provider, model.name),
        size_bytes=model.size_bytes,
        context_tokens=model.context_tokens,
        digest=model.sha256,
        license=model.license,
        available=is_here,
        loaded=is_loaded,
        location=str(local_path(model, config)) if is_here else None,
        description=model.description,
        capabilities=ANY_MODEL,
    )


def _loaded_info(
    provider: str, name: str | None, files: ModelFiles, abilities: Abilities | None
) -> ModelInfo:
    is_here = all(path.is_file() for path in files.paths)  # it may be deleted by now
    return ModelInfo(
        ModelRef(provider, "+".join((name or str(files.weights), *map(str, files.adapters)))),
        size_bytes=sum(path.stat().st_size for path in files.paths) if is_here else None,
        context_tokens=abilities.context_tokens if abilities else None,
        available=is_here,
        loaded=True,
        location=str(files.weights),
        capabilities=abilities.capabilities if abilities else ANY_MODEL,
    )
