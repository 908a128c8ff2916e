"""Texts become vectors: the last hidden state of a loaded model, pooled as its folder says."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import ContextLengthError, FarmError, InvalidRequestError, ProviderError
from farm_notebook.providers.huggingface.failure import generation_error
from farm_notebook.providers.huggingface.layout import Layout, read_layout
from farm_notebook.providers.huggingface.loaded import LoadedModel
from farm_notebook.providers.huggingface.work import Halt, HaltedError, Work

if TYPE_CHECKING:
    import torch

__all__ = ["embed", "text_encoder"]

TOKENIZED_TEXTS = 256  # at once, between two looks at whether to stop
BATCH_TOKENS = {"cpu": 1024}  # padding included; a batch is not interrupted
OTHER_BATCH_TOKENS = 16_384
SHOWN = 40  # characters of a text in an error


async def embed(loaded: LoadedModel, texts: Sequence[str]) -> tuple[list[tuple[float, ...]], int]:
    """One vector of unit length a text, in order, and how many tokens were read.

    The work is done in a thread of its own; a cancel ends it between two batches.

    Raises:
        ContextLengthError: A text is longer than the model sees; nothing is cut off.
        InvalidRequestError: A text has no tokens.
        LoadError: The model's folder asks for something that is not known here.
        OutOfMemoryError: The device has no memory left.
        ProviderError: The model failed.
    """
    if not texts:
        return [], 0
    work = Work(lambda halt: _embed(loaded, list(texts), halt))
    try:
        return await work.done
    finally:
        work.halt.ask()


def _embed(loaded: LoadedModel, texts: list[str], halt: Halt) -> tuple[list[tuple[float, ...]], int]:
    import torch

    # Beside a GGUF file may lie the layout of another model.
    layout = Layout() if loaded.name.endswith(".gguf") else read_layout(loaded.folder)
    try:
        with torch.inference_mode():
            tokens = _tokenized(loaded, layout, texts, halt)
            _require_fit(loaded, layout, tokens, texts)
            skipped = _prompt_tokens(loaded, layout)
            vectors: list[tuple[float, ...]] = [()] * len(texts)
            for batch in _batches([len(row) for row in tokens], _batch_tokens(loaded)):
                halt.check()
                rows = _vectors(loaded, layout, [tokens[number] for number in batch], skipped)
                for number, row in zip(batch, rows.tolist(), strict=True):
                    vectors[number] = tuple(row)
    except (FarmError, HaltedError):
        raise
    except Exception as error:
        raise generation_error(error, loaded.name) from error
    return vectors, sum(len(row) for row in tokens)


def _tokenized(loaded: LoadedModel, layout: Layout, texts: list[str], halt: Halt) -> list[list[int]]:
    tokens: list[list[int]] = []
    for start in range(0, len(texts), TOKENIZED_TEXTS):
        halt.check()
        some = [layout.prompt + text for text in texts[start : start + TOKENIZED_TEXTS]]
        tokens += _ids(loaded, [text.lower() for text in some] if layout.lowers else some)
    return tokens


def _ids(loaded: LoadedModel, texts: list[str]) -> list[list[int]]:
    ids: list[list[int]] = loaded.tokenizer(texts, padding=False, truncation=False, verbose=False)[
        "input_ids"
    ]
    return ids


def _require_fit(loaded: LoadedModel, layout: Layout, tokens: list[list[int]], texts: list[str]) -> None:
    limits = (layout.max_tokens, loaded.context_tokens, loaded.tokenizer.model_max_length)
    limit = min(limit for limit in limits if limit is not None)
    for number, (row, text) in enumerate(zip(tokens, texts, strict=True)):
        if not row:
            raise InvalidRequestError(
                f"Text {number} ({text!r}) has no tokens, so there is nothing to embed."
            )
        if len(row) > limit:
            shown = text if len(text) <= SHOWN else text[:SHOWN] + "..."
            raise ContextLengthError(
                f"huggingface:{loaded.name}: text {number} ({shown!r}) has {len(row)} tokens; at most "
                f"{limit} fit. Split it.",
                provider="huggingface",
                tokens=len(row),
                limit=limit,
            )


def _prompt_tokens(loaded: LoadedModel, layout: Layout) -> int:
    """How many tokens at the beginning do not count; a special token at a text's end is not the prompt's."""
    if not (layout.prompt and layout.pooling.skips_prompt):
        return 0
    prompt = _ids(loaded, [layout.prompt])[0]
    return len(prompt) - (prompt[-1] in loaded.tokenizer.all_special_ids)


def _batch_tokens(loaded: LoadedModel) -> int:
    return BATCH_TOKENS.get(loaded.device.type, OTHER_BATCH_TOKENS)


def _batches(lengths: list[int], budget: int) -> Iterator[list[int]]:
    """Numbers of texts of like lengths, the longest first: if memory is short, it shows at once.

    Args:
        lengths: Tokens of each text.
        budget: Tokens of a batch, padding included; a text that is longer is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    while order:
        size = max(1, budget // lengths[order[0]])
        yield order[:size]
        del order[:size]


def _vectors(loaded: LoadedModel, layout: Layout, tokens: list[list[int]], skipped: int) -> torch.Tensor:
    """Unit vectors of some texts, ``[texts, width]``.

    Padding is on the right, whatever the tokenizer says: so every text begins at position 0, and no token of
    a decoder can see it.
    """
    import torch

    width = max(len(row) for row in tokens)
    pad = loaded.tokenizer.pad_token_id or 0
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in tokens], device=loaded.device)
    lengths = torch.tensor([[len(row)] for row in tokens], device=loaded.device)
    places = torch.arange(width, device=loaded.device)
    mask = places < lengths
    encoder = text_encoder(loaded)
    options = {"use_cache": False} if "use_cache" in inspect.signature(encoder.forward).parameters else {}
    states = encoder(input_ids=ids, attention_mask=mask.long(), **options).last_hidden_state.float()
    vectors = layout.pooling(states, mask & (places >= torch.minimum(lengths - 1, torch.tensor(skipped))))
    for step in layout.steps:
        vectors = step(vectors)
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    if not vectors.isfinite().all():
        raise ProviderError(
            f"huggingface:{loaded.name} gave numbers that are not finite in {loaded.module.dtype}. "
            "Set huggingface.dtype to float32.",
            provider="huggingface",
        )
    return vectors


def text_encoder(loaded: LoadedModel) -> Any:
    """The part of a model that makes the last hidden state: what has no head, and reads."""
    if loaded.module.config.is_encoder_decoder:
        return loaded.module.get_encoder()
    return loaded.module.base_model
