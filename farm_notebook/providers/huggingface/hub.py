"""Repositories of the Hugging Face hub: those in its cache on this machine, and how the others get there."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_notebook.config import FarmConfig
from farm_notebook.config.secrets import find_hub_token
from farm_notebook.errors import AuthenticationError, FetchError, ModelNotFoundError
from farm_notebook.providers.huggingface.checkpoint import PICKLED, is_trusted
from farm_notebook.providers.huggingface.runtime import quiet
from farm_notebook.providers.huggingface.source import Source
from farm_notebook.providers.huggingface.work import Halt

if TYPE_CHECKING:
    from huggingface_hub import CachedRepoInfo

__all__ = ["CachedModel", "cached_models", "fetch", "snapshot"]

Report = Callable[[int, int], None]

WANTED = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "README.md"]
# Copies of the same weights in other forms.
UNWANTED = ["onnx/*", "openvino/*", "original/*", "metal/*", "gguf/*", "coreml/*", "consolidated*"]
ANSWERS = ("ForCausalLM", "LMHeadModel")  # how transformers calls classes that continue a text


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model in the hub's cache: what its files say of it."""

    repository: str
    folder: Path
    commit: str
    size_bytes: int
    context_tokens: int | None
    license: str | None


def snapshot(source: Source, config: FarmConfig) -> Path | None:
    """The folder of a repository in the hub's cache; ``None`` where it is not there, or not whole."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    assert source.repository is not None
    try:
        folder = snapshot_download(
            source.repository,
            revision=config.huggingface.revision,
            local_files_only=True,
            allow_patterns=_wanted(source, config),
            ignore_patterns=UNWANTED,
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    weights = ("*.safetensors", *(PICKLED if is_trusted(source, config.huggingface.pickled_weights) else ()))
    return Path(folder) if any(any(Path(folder).glob(pattern)) for pattern in weights) else None


def fetch(source: Source, config: FarmConfig, halt: Halt, report: Report) -> Path:
    """Bring a repository's files to the hub's cache; blocks, and stops when asked to.

    Args:
        source: The repository.
        config: Its revision, and whether anything may be fetched.
        halt: Looked at with every piece that arrives.
        report: Called with the bytes that are here, and those that will be.

    Raises:
        ModelNotFoundError: The hub has no such repository or revision, or must not be asked.
        AuthenticationError: The hub wants a token, or the licence accepted.
        FetchError: The hub cannot be reached, or broke off.
    """
    import httpx2
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, revision = source.repository, config.huggingface.revision
    assert name is not None
    at = f" at {revision!r}" if revision else ""
    if config.offline or constants.is_offline_mode():
        variable = "FARM_OFFLINE" if config.offline else "HF_HUB_OFFLINE"
        raise ModelNotFoundError(
            f"There is no model {name!r}{at}: it is no path, not in the hub's cache "
            f"({constants.HF_HUB_CACHE}), and {variable} forbids to ask the hub."
        )
    options: dict[str, Any] = {
        "revision": revision,
        "token": find_hub_token(config) or None,
        "allow_patterns": _wanted(source, config),
        "ignore_patterns": UNWANTED,
    }
    try:
        with quiet():
            total = _bytes_to_fetch(name, halt, options)
            report(0, total)
            return Path(snapshot_download(name, **options, tqdm_class=_counting_bar(total, halt, report)))
    except GatedRepoError:
        raise AuthenticationError(
            f"The hub lets only those read {name!r} who accepted its licence: do so at "
            f"{constants.ENDPOINT}/{name}, and set HF_TOKEN to a token of yours.",
            provider="huggingface",
        ) from None
    except RevisionNotFoundError:
        raise ModelNotFoundError(f"The hub has {name!r}, but not{at}.") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelNotFoundError(
            f"The hub has no repository {name!r}, or it is private and HF_TOKEN is not set to a token that "
            "may read it. It is no folder here either."
        ) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx2.HTTPError, OSError) as error:
        raise FetchError(
            f"{name!r} could not be fetched from {constants.ENDPOINT}: {_reason(error)}"
        ) from None


def _bytes_to_fetch(name: str, halt: Halt, options: dict[str, Any]) -> int:
    """How much of a repository is not here yet."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError

    bar = _counting_bar(0, halt, lambda *_: None)
    try:
        plan = snapshot_download(name, **options, dry_run=True, tqdm_class=bar)
    except DryRunError as error:
        raise (error.__cause__ or error) from None  # what the hub said
    return sum(file.file_size for file in plan if file.will_download)


def cached_models() -> Iterator[CachedModel]:
    """The models in the hub's cache that continue a text and have safetensors, newest revision each."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return
    for repository in sorted(repositories, key=lambda repository: repository.repo_id):
        if repository.repo_type == "model" and (found := _describe(repository)):
            yield found


def _describe(repository: CachedRepoInfo) -> CachedModel | None:
    if not repository.revisions:
        return None
    newest = max(repository.revisions, key=lambda revision: revision.last_modified)
    folder = newest.snapshot_path
    size = sum(
        file.size_on_disk
        for file in newest.files
        if file.file_path.suffix == ".safetensors" and file.file_path.parent == folder
    )
    try:
        config = json.loads((folder / "config.json").read_bytes())
        answers = any(str(name).endswith(ANSWERS) for name in config.get("architectures") or ())
        context = config.get("max_position_embeddings")
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    if not (answers and size):
        return None
    context = context if isinstance(context, int) else None
    return CachedModel(repository.repo_id, folder, newest.commit_hash, size, context, _license(folder))


def _license(folder: Path) -> str | None:
    """What the model card's front matter says."""
    from huggingface_hub import metadata_load

    try:
        license = (metadata_load(folder / "README.md") or {}).get("license")
    except Exception:  # noqa: BLE001 - a card is written by hand, and may hold anything
        return None
    return license if isinstance(license, str) else None


def _wanted(source: Source, config: FarmConfig) -> list[str]:
    settings = config.huggingface
    code = ["*.py"] if is_trusted(source, settings.trust_remote_code) else []
    pickles = ["pytorch_model*.bin"] if is_trusted(source, settings.pickled_weights) else []
    return WANTED + code + pickles


def _reason(error: BaseException) -> str:
    """What went wrong, in one line; of an error that hides its cause, the cause."""
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}".splitlines()[0]


def _counting_bar(total: int, halt: Halt, report: Report) -> type[Any]:
    """A bar for ``snapshot_download`` that shows nothing and tells ``report`` how many bytes are here."""
    from tqdm.std import tqdm  # type: ignore[import-untyped]  # tqdm brings no types

    class CountingBar(tqdm):  # type: ignore[misc]  # tqdm brings no types
        monitor_interval = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            self._counts_bytes = options.get("unit") == "B"
            super().__init__(*args, **{**options, "file": io.StringIO(), "disable": False})

        def display(self, *args: Any, **options: Any) -> None:
            return

        def update(self, n: float | None = 1) -> None:
            halt.check()
            super().update(n)
            if self._counts_bytes:
                report(min(int(self.n), total), total)

    return CountingBar
