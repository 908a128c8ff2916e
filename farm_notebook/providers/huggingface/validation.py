"""Whether what was loaded can answer at all: looked at before anything else is given up for it.

That no weight is missing, and none of another shape, ``loading`` has seen to. Here are the ways in which a
whole checkpoint is of no use: a tokenizer or a template of another model, and numbers that are none.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import FarmError, LoadError, OutOfMemoryError
from farm_notebook.providers.huggingface.embeddings import text_encoder
from farm_notebook.providers.huggingface.failure import first_line, is_out_of_memory
from farm_notebook.providers.huggingface.loaded import LoadedModel
from farm_notebook.providers.huggingface.runtime import quiet
from farm_notebook.providers.huggingface.work import Halt, HaltedError

if TYPE_CHECKING:
    import torch

__all__ = ["validate"]

WORD = "Hello"  # what the model is shown
MOST_TOKENS = 32  # of it, a template's own words included
SHOWN_TOKENS = 3


def validate(loaded: LoadedModel, halt: Halt) -> None:
    """Have a model read one word; blocks for one short forward pass.

    Args:
        loaded: Just loaded, and used by nobody. One that reads pictures or sounds with its text, and does not
            generate, is taken as it is.
        halt: Looked at before the pass.

    Raises:
        LoadError: Its tokenizer or its chat template does not go with it, or it gives no finite numbers.
        OutOfMemoryError: Not even one word fits beside its weights.
        HaltedError: It was asked to stop.
    """
    try:
        with quiet():
            if (reader := _reader(loaded)) is None:
                return
            _require_embeddings(loaded)
            tokens = _tokens(loaded)
            halt.check()
            _require_finite(loaded, reader, tokens)
    except (FarmError, HaltedError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f"{loaded.name!r} is loaded, and leaves {loaded.device} no memory to answer with. "
                "Unload another model, or set huggingface.dtype or huggingface.quantization.",
                provider="huggingface",
            ) from error
        raise LoadError(
            f"{loaded.name!r} fails at its first word: {type(error).__name__}: {first_line(error)}. "
            "Its configuration and its weights are not of one model; save both anew."
        ) from error


def _require_embeddings(loaded: LoadedModel) -> None:
    """Refuse a tokenizer that turns a text into what the model has no embedding for.

    Special tokens that stand for no text, such as the place of an image, may have none in the model's variant
    for text only. Those that begin, end and fill a text must.
    """
    known = _embeddings(loaded)
    tokenizer = loaded.tokenizer
    added = tokenizer.added_tokens_decoder
    beyond = {str(token): number for number, token in added.items() if number >= known and not token.special}
    if len(tokenizer) - len(added) > known:  # to list a whole vocabulary would hold everything up
        beyond |= {
            word: number
            for word, number in tokenizer.get_vocab().items()
            if number >= known and number not in added
        }
    for role in ("bos_token", "eos_token", "pad_token", "unk_token"):
        if (number := getattr(tokenizer, f"{role}_id")) is not None and not 0 <= number < known:
            beyond[f"{role} {getattr(tokenizer, role)}"] = number
    config = getattr(loaded.module, "generation_config", None)
    for role in ("bos_token_id", "eos_token_id", "pad_token_id"):
        for number in _numbers(getattr(config, role, None)):
            if number >= known:
                beyond[f"generation_config.{role}"] = number
    if beyond:
        raise LoadError(
            f"{loaded.name!r} has embeddings for {known:,} tokens, and its tokenizer has {len(tokenizer):,}: "
            f"there is none for {_shown(beyond)}. Save the tokenizer that belongs to the model, or after "
            "model.resize_token_embeddings(len(tokenizer)) the model."
        )


def _tokens(loaded: LoadedModel) -> list[int]:
    """The word as a user's message, where the model has a template for these; else as it is."""
    tokenizer, text = loaded.tokenizer, WORD
    is_chat = tokenizer.chat_template is not None and _decodes(loaded)
    if is_chat:
        try:
            text = str(
                tokenizer.apply_chat_template(
                    [{"role": "user", "content": WORD}], add_generation_prompt=True, tokenize=False
                )
            )
        except Exception as error:
            raise _template_error(loaded, f"fails on a user's message: {first_line(error)}") from error
        if WORD not in text:
            raise _template_error(loaded, f"leaves out what the user says: it made {text[:80]!r} of {WORD!r}")
    tokens: list[int] = tokenizer(text, add_special_tokens=not is_chat)["input_ids"]
    if not tokens:
        raise LoadError(
            f"{loaded.name!r} has a tokenizer that makes no tokens of {text!r}. Put the tokenizer.json that "
            "belongs to the model beside its weights."
        )
    known = _embeddings(loaded)
    if beyond := {str(tokenizer.convert_ids_to_tokens(token)): token for token in tokens if token >= known}:
        raise _template_error(
            loaded, f"has tokens for which the model has no embedding ({known:,}): {_shown(beyond)}"
        )
    return tokens[-min(MOST_TOKENS, loaded.context_tokens or MOST_TOKENS) :]


def _template_error(loaded: LoadedModel, what: str) -> LoadError:
    return LoadError(
        f"The chat template of {loaded.name!r} {what}. Put the chat_template.jinja that belongs to the model "
        "beside its weights, or remove it."
    )


def _require_finite(loaded: LoadedModel, reader: Any, tokens: list[int]) -> None:
    """Have the model read the tokens, and the likeliest next one be written."""
    import torch

    takes = inspect.signature(reader.forward).parameters
    options = {"use_cache": False} if "use_cache" in takes else {}
    with torch.inference_mode():
        output = reader(input_ids=torch.tensor([tokens], device=loaded.device), **options)
        scores = output.logits if _decodes(loaded) else output.last_hidden_state
        if not scores.isfinite().all():
            raise LoadError(f"{loaded.name!r} gives numbers that are not finite: {_cause(loaded)}")
        if _decodes(loaded):
            words = len(loaded.tokenizer)  # embeddings are often a few more, to be of a round number
            loaded.tokenizer.decode([int(scores[0, -1, :words].argmax())])


def _reader(loaded: LoadedModel) -> Any:
    """What of a model gives logits, or the hidden states of one that only embeds; ``None``: it wants more."""
    if _decodes(loaded):
        return loaded.module
    reader = text_encoder(loaded)
    takes = inspect.signature(reader.forward).parameters
    return reader if "input_ids" in takes and "pixel_values" not in takes else None


def _cause(loaded: LoadedModel) -> str:
    """The first weight that is not finite; looked for only once something is wrong, as it takes them all."""
    for name, tensor in loaded.module.named_parameters():
        if tensor.is_floating_point() and tensor.numel() and not _is_finite(tensor):
            return f"its weight {name} has NaN or Inf in it. Take a checkpoint from before that came about."
    return (
        f"its weights are finite, so {loaded.dtype} is too narrow for it. Set huggingface.dtype to float32 "
        "or bfloat16."
    )


def _is_finite(tensor: torch.Tensor) -> bool:
    """Both ends of its range are, of which NaN is one where there is any; this takes no further memory."""
    if tensor.element_size() == 1:  # formats of 8 bits have no order in torch
        tensor = tensor.float()
    return all(bool(end.isfinite()) for end in tensor.aminmax())


def _decodes(loaded: LoadedModel) -> bool:
    return loaded.module.can_generate() and not loaded.module.config.is_encoder_decoder


def _embeddings(loaded: LoadedModel) -> int:
    """How many tokens the model knows; one that does not say is taken to know all."""
    try:
        embeddings: Any = loaded.module.get_input_embeddings()
    except NotImplementedError:
        return sys.maxsize
    return int(embeddings.weight.shape[0])


def _numbers(value: int | Iterable[int] | None) -> list[int]:
    return [] if value is None else [value] if isinstance(value, int) else list(value)


def _shown(tokens: dict[str, int]) -> str:
    some = sorted(tokens.items(), key=lambda item: item[1])[:SHOWN_TOKENS]
    words = ", ".join(f"{word!r} ({number})" for word, number in some)
    return words + ", ..." * (len(tokens) > SHOWN_TOKENS)
