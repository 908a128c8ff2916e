"""Answers that follow a grammar: the tokens that would break it are taken out before one is chosen.

A JSON schema is one, and so is a tool that must be called.
"""

from __future__ import annotations

import json
import threading
import weakref
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import InvalidRequestError, MissingExtraError, UnsupportedParameterError
from farm_notebook.providers.huggingface.loaded import LoadedModel
from farm_notebook.providers.huggingface.markup import CALL, CALLED
from farm_notebook.providers.huggingface.runtime import INSTALL
from farm_notebook.providers.huggingface.sampling import end_tokens
from farm_notebook.types import ChatRequest, Tool

if TYPE_CHECKING:
    import torch
    from transformers import LogitsProcessor, PreTrainedTokenizerBase

__all__ = ["grammar_processor", "must_call"]

_lock = threading.Lock()
_vocabularies: weakref.WeakKeyDictionary[PreTrainedTokenizerBase, Any] = weakref.WeakKeyDictionary()


def grammar_processor(request: ChatRequest, loaded: LoadedModel) -> LogitsProcessor | None:
    """What keeps an answer to a request's schema, or to the call it must be; ``None`` where it is free.

    It begins with the answer and serves no other. Blocks: the first time for a model its vocabulary is read,
    which takes up to a second.

    Args:
        request: Its schema is a JSON schema, as far as llguidance knows them; so are those of its tools.
        loaded: The model that answers.

    Raises:
        InvalidRequestError: A schema is none that answers can be kept to.
        MissingExtraError: llguidance is not installed.
        UnsupportedParameterError: The model's tokenizer is of a kind that llguidance does not know.
    """
    schema, before, after = request.schema, "", ""
    if must_call(request):
        tools = [tool for tool in request.tools if request.tool_choice in ("required", tool.name)]
        schema, before, after = {"anyOf": [_call(tool) for tool in tools]}, f"{CALL}\n", f"\n{CALLED}"
    if schema is None:
        return None
    if find_spec("llguidance") is None:
        raise MissingExtraError(f"Answers that follow a schema need llguidance: {INSTALL}")
    from llguidance import LLMatcher

    # Without spaces to choose freely, a small model cannot go on writing nothing but them.
    json_text = json.dumps({**schema, "x-guidance": {"whitespace_flexible": False}})
    lark = f"start: {json.dumps(before)} answer {json.dumps(after)}\nanswer: %json {json_text}"
    matcher = LLMatcher(_vocabulary(loaded), LLMatcher.grammar_from_lark(lark), log_level=0)
    if matcher.is_error():
        reason = matcher.get_error().strip().partition("\n")[0]
        raise InvalidRequestError(f"Answers cannot be kept to the schema {dict(schema)!r}: {reason}")
    return _processor(matcher)


def must_call(request: ChatRequest) -> bool:
    """Whether the answer has to be a tool call."""
    return bool(request.tools) and request.tool_choice not in (None, "auto", "none")


def _call(tool: Tool) -> dict[str, Any]:
    """The schema of a call, as ``markup`` reads it."""
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "arguments": dict(tool.parameters)},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _vocabulary(loaded: LoadedModel) -> Any:
    from llguidance.hf import from_tokenizer

    with _lock:
        known = _vocabularies.get(loaded.tokenizer)
        if known is None:
            config = loaded.module.generation_config
            ends = end_tokens(config) if config is not None else ()
            try:
                tokenizer: Any = loaded.tokenizer  # any kind; it looks for itself
                known = from_tokenizer(tokenizer, eos_token=list(ends) or None)
            except ValueError as error:
                raise UnsupportedParameterError(
                    f"{loaded.name!r} cannot honour schema: {error}", provider="huggingface"
                ) from error
            _vocabularies[loaded.tokenizer] = known
        return known


def _processor(matcher: Any) -> LogitsProcessor:
    import numpy as np
    import torch
    from transformers import LogitsProcessor

    class Grammar(LogitsProcessor):
        read: int | None = None  # tokens of the sequence; before the first call, the prompt is not known

        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            length = input_ids.shape[-1]
            if self.read is not None and self.read < length:
                matcher.consume_tokens(input_ids[0, self.read :].tolist())
            self.read = length
            bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
            allowed = torch.zeros(scores.shape[-1], dtype=torch.bool)
            count = min(len(bits), len(allowed))
            allowed[:count] = torch.from_numpy(bits[:count]).bool()
            return scores.masked_fill(~allowed.to(scores.device), -torch.inf)

    return Grammar()
