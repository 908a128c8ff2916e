"""How a request is to be sampled, in transformers' words; and a random source for each request."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import UnsupportedParameterError
from farm_notebook.providers.huggingface.runtime import quiet
from farm_notebook.types import ChatRequest

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel

__all__ = ["EXTRA", "end_tokens", "greedy_config", "processors", "sampling_config"]

_NUMBER, _LIST = (int, float), (list, tuple)
EXTRA: dict[str, tuple[type, ...]] = {
    "top_k": (int,),
    "min_p": _NUMBER,
    "typical_p": _NUMBER,
    "epsilon_cutoff": _NUMBER,
    "eta_cutoff": _NUMBER,
    "repetition_penalty": _NUMBER,
    "no_repeat_ngram_size": (int,),
    "bad_words_ids": _LIST,
    "sequence_bias": (*_LIST, dict),
    "suppress_tokens": _LIST,
    "begin_suppress_tokens": _LIST,
    "exponential_decay_length_penalty": _LIST,
    "min_new_tokens": (int,),
    "remove_invalid_values": (bool,),
}
"""Parameters that a request's ``extra`` may hold: fields of ``GenerationConfig`` that change one sequence."""
_WARPERS = ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "top_h")


def sampling_config(request: ChatRequest) -> GenerationConfig:
    """What a request says of sampling; what it does not say is absent, and so left to the checkpoint.

    Raises:
        UnsupportedParameterError: ``extra`` has a name that is not in ``EXTRA``, or an unfit value.
    """
    from transformers import GenerationConfig

    if unknown := sorted(set(request.extra) - set(EXTRA)):
        raise UnsupportedParameterError(
            f"{request.ref} cannot honour {', '.join(unknown)}. Of transformers' parameters these are taken: "
            f"{', '.join(EXTRA)}.",
            provider=request.ref.provider,
        )
    for name, value in request.extra.items():
        if not isinstance(value, EXTRA[name]) or isinstance(value, bool) is not (EXTRA[name] == (bool,)):
            raise UnsupportedParameterError(
                f"{request.ref} cannot honour {name}={value!r}: it takes "
                f"{' or '.join(kind.__name__ for kind in EXTRA[name])}.",
                provider=request.ref.provider,
            )
    fields: dict[str, Any] = dict(request.extra)
    if request.temperature == 0:
        fields["do_sample"] = False
    elif request.temperature is not None or request.top_p is not None:
        fields |= {"do_sample": True, "temperature": request.temperature, "top_p": request.top_p}
    try:
        with quiet():  # it warns of what a greedy answer does not need
            return GenerationConfig(**{name: value for name, value in fields.items() if value is not None})
    except (ValueError, TypeError) as error:
        raise UnsupportedParameterError(
            f"{request.ref} cannot honour {dict(request.extra)!r}: {error}", provider=request.ref.provider
        ) from error


def completed(module: PreTrainedModel, config: GenerationConfig) -> GenerationConfig:
    """A copy of the configuration in which what was absent is the checkpoint's."""
    whole = copy.deepcopy(module.generation_config)
    for name, value in config.to_diff_dict().items():
        if name != "transformers_version":
            setattr(whole, name, value)
    return whole


def end_tokens(config: GenerationConfig) -> tuple[int, ...]:
    """The tokens that end an answer."""
    ends = config.eos_token_id
    return (ends,) if isinstance(ends, int) else tuple(ends or ())


def greedy_config(config: GenerationConfig, max_tokens: int) -> GenerationConfig:
    """One stream of the likeliest tokens, where drawing another is a processor's work: see ``processors``."""
    config = copy.deepcopy(config)
    config.do_sample = False
    for name in _WARPERS:
        setattr(config, name, None)
    config.num_beams = config.num_return_sequences = 1
    config.max_length, config.max_new_tokens = None, max_tokens
    config.return_dict_in_generate = config.output_scores = config.output_logits = False
    if config.pad_token_id is None and (ends := end_tokens(config)):
        config.pad_token_id = ends[0]
    return config


def processors(
    config: GenerationConfig, seed: int | None, device: torch.device, first: Sequence[LogitsProcessor] = ()
) -> list[LogitsProcessor]:
    """What makes a sampled token the likeliest one.

    ``generate`` draws from torch's global random source, which is the user's and knows no second thread. So
    it is told to be greedy, and the last processor here draws, from a source of the request's own.

    Args:
        config: The whole configuration.
        seed: For repeatable drawing; ``None`` takes one at random.
        device: Where the scores are.
        first: Processors that come before all sampling.
    """
    if not config.do_sample:
        return list(first)
    import transformers as hf

    makers: dict[str, Any] = {
        "temperature": lambda value: hf.TemperatureLogitsWarper(float(value)),
        "top_k": hf.TopKLogitsWarper,
        "top_p": hf.TopPLogitsWarper,
        "min_p": hf.MinPLogitsWarper,
        "typical_p": hf.TypicalLogitsWarper,
        "epsilon_cutoff": hf.EpsilonLogitsWarper,
        "eta_cutoff": lambda value: hf.EtaLogitsWarper(value, device=str(device)),
    }
    neutral = {
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "typical_p": 1.0,
        "epsilon_cutoff": 0.0,
        "eta_cutoff": 0.0,
    }
    values = {name: getattr(config, name) for name in makers}
    if values["top_k"] is None:
        values["top_k"] = 50  # transformers' default
    chosen = [
        make(values[name])
        for name, make in makers.items()
        if values[name] is not None and values[name] != neutral.get(name)
    ]
    return [*first, *chosen, _draw(seed, device)]


def _draw(seed: int | None, device: torch.device) -> LogitsProcessor:
    import torch
    from transformers import LogitsProcessor

    generator = torch.Generator(device)
    generator.seed() if seed is None else generator.manual_seed(seed)

    class Draw(LogitsProcessor):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            token = torch.multinomial(scores.softmax(-1), 1, generator=generator)
            return torch.full_like(scores, -torch.inf).scatter_(-1, token, 0.0)

    return Draw()
