"""What stands behind the transformer in a model that embeds, in the layout of sentence-transformers.

Source: ``modules.json`` and the ``config.json`` of each module, as sentence-transformers 6.2 writes them.
Older releases wrote the poolings as one boolean each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from farm_notebook.errors import LoadError

if TYPE_CHECKING:
    import torch

__all__ = ["Dense", "Layout", "Normalize", "Pooling", "PoolingMode", "read_layout"]

PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]

MODULES = ("Transformer", "Pooling", "Dense", "Normalize", "Dropout")
ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid")  # of torch.nn, which need no arguments
_OLD_POOLINGS: Mapping[str, PoolingMode] = {  # in the order in which several are put together
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True, slots=True)
class Pooling:
    """One vector out of a text's token vectors.

    Args:
        modes: Each gives a vector; these are put one behind the other.
        skips_prompt: Leave out the tokens of the layout's prompt.
    """

    modes: tuple[PoolingMode, ...] = ("mean",)
    skips_prompt: bool = False

    def __call__(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool ``[texts, tokens, width]`` where ``mask``, ``[texts, tokens]``, is true."""
        import torch

        return torch.cat([_pool(mode, states, mask) for mode in self.modes], dim=-1)


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer and an activation; ``activation`` is the name of a class of ``torch.nn``."""

    file: Path
    activation: str

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            weights = load_file(self.file, device=str(vectors.device))
            bias = weights.get("linear.bias")
            out = torch.nn.functional.linear(
                vectors, weights["linear.weight"].float(), None if bias is None else bias.float()
            )
        except (SafetensorError, KeyError, RuntimeError) as error:
            raise LoadError(f"{str(self.file)!r} does not fit what stands before it: {error}") from error
        activation: torch.Tensor = getattr(torch.nn, self.activation)()(out)
        return activation


@dataclass(frozen=True, slots=True)
class Normalize:
    """Each vector to unit length."""

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.normalize(vectors, dim=-1)


Step: TypeAlias = Dense | Normalize


@dataclass(frozen=True, slots=True)
class Layout:
    """How a text becomes a vector, the transformer aside. As it is: mean pooling, and nothing else.

    Args:
        pooling: Of the last hidden state.
        steps: What is done to the pooled vectors, in order.
        prompt: Put before each text.
        max_tokens: Longest text, where the layout says.
        lowers: Texts are put into lower case.
    """

    pooling: Pooling = Pooling()
    steps: tuple[Step, ...] = ()
    prompt: str = ""
    max_tokens: int | None = None
    lowers: bool = False


def read_layout(folder: Path) -> Layout:
    """The layout that a model's folder describes, or mean pooling where it describes none.

    Raises:
        LoadError: A file cannot be read, or asks for something that is not known here; what is, is listed.
    """
    modules = _read(folder / "modules.json", list)
    if modules is None:
        return Layout()
    pooling: Pooling | None = None
    steps: list[Step] = []
    for number, module in enumerate(modules):
        kind = _kind(module, folder)
        path = _inside(folder, str(module.get("path", "")))
        if kind == "Transformer" and (number or path != folder.resolve()):
            raise LoadError(
                f"{str(folder)!r} keeps its transformer in {module.get('path')!r}, as module {number} of "
                "modules.json. Only one at the top of the folder, which comes first, is known here. "
                "Load the model with sentence-transformers and save it again."
            )
        if kind == "Pooling":
            pooling = _pooling(path)
        elif kind == "Dense":
            steps.append(_dense(path))
        elif kind == "Normalize":
            steps.append(Normalize())
    if pooling is None:
        raise LoadError(
            f"{str(folder / 'modules.json')!r} has no Pooling, so it says of no text what its vector is."
        )
    bert = _read(folder / "sentence_bert_config.json", dict) or {}
    prompts = _read(folder / "config_sentence_transformers.json", dict) or {}
    default = prompts.get("default_prompt_name")
    return Layout(
        pooling,
        tuple(steps),
        prompt=str((prompts.get("prompts") or {}).get(default) or "") if default else "",
        max_tokens=bert.get("max_seq_length"),
        lowers=bool(bert.get("do_lower_case")),
    )


def _kind(module: Any, folder: Path) -> str:
    """Which of ``MODULES`` an entry of ``modules.json`` is."""
    name = str(module.get("type")) if isinstance(module, dict) else repr(module)
    package, kind = name.partition(".")[0], name.rpartition(".")[2]
    if package != "sentence_transformers" or kind not in MODULES:
        raise LoadError(
            f"{str(folder / 'modules.json')!r} has a module {name!r}, which is not known here. "
            f"Known of sentence_transformers: {', '.join(MODULES)}."
        )
    return kind


def _pooling(folder: Path) -> Pooling:
    config = _read(folder / "config.json", dict) or {}
    named = config.get("pooling_mode")
    modes: list[Any] = [named] if isinstance(named, str) else list(named or ())
    if named is None:
        modes = [mode for key, mode in _OLD_POOLINGS.items() if config.get(key)] or ["mean"]
    if unknown := [mode for mode in modes if mode not in get_args(PoolingMode)]:
        raise LoadError(
            f"{str(folder / 'config.json')!r} asks for the pooling {unknown[0]!r}. "
            f"Known: {', '.join(get_args(PoolingMode))}."
        )
    return Pooling(tuple(modes), skips_prompt=config.get("include_prompt") is False)


def _dense(folder: Path) -> Dense:
    config = _read(folder / "config.json", dict) or {}
    activation = str(config.get("activation_function", "torch.nn.Tanh"))
    place, _, name = activation.rpartition(".")
    if not place.startswith("torch.nn") or name not in ACTIVATIONS:
        raise LoadError(
            f"{str(folder / 'config.json')!r} asks for the activation {activation!r}. "
            f"Known of torch.nn: {', '.join(ACTIVATIONS)}."
        )
    inputs = config.get("module_input_name") or "sentence_embedding"
    if config.get("use_residual") or inputs != "sentence_embedding":
        raise LoadError(
            f"{str(folder / 'config.json')!r} asks for a residual, or for an input {inputs!r}. "
            "Known is a layer of sentence_embedding without a residual."
        )
    file = folder / "model.safetensors"
    if not file.is_file():
        raise LoadError(
            f"There is no {str(file)!r}; pickled weights are not read here. "
            "Load the model with sentence-transformers and save it again."
        )
    return Dense(file, name)


def _inside(folder: Path, path: str) -> Path:
    """A path of ``modules.json``, which must not lead out of the folder."""
    place = (folder / path).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise LoadError(f"{str(folder / 'modules.json')!r} leads out of its folder: {path!r}.")
    return place


def _read(file: Path, kind: type) -> Any:
    """The JSON of a file; ``None`` where there is no such file."""
    try:
        value = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LoadError(f"{str(file)!r} cannot be read: {error}") from error
    if not isinstance(value, kind):
        raise LoadError(f"{str(file)!r} holds no JSON {'array' if kind is list else 'object'}.")
    return value


def _pool(mode: PoolingMode, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """One mode; the tokens that count are next to each other, and there is at least one."""
    import torch

    if mode in ("cls", "lasttoken"):
        places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
        ends = places.masked_fill(~mask, -1).argmax(-1) if mode == "lasttoken" else mask.int().argmax(-1)
        return states[torch.arange(len(states), device=states.device), ends]
    if mode == "max":
        return states.masked_fill(~mask[..., None], float("-inf")).amax(1)
    weights = mask.to(states.dtype)
    if mode == "weightedmean":  # later tokens count more; the first of the text counts 1, prompt or not
        weights = weights * torch.arange(1, mask.shape[1] + 1, device=mask.device)
    count = weights.sum(1, keepdim=True)
    return (states * weights[..., None]).sum(1) / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)
