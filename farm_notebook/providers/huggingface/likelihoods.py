"""How likely each token of an answer was: what a model's scores said before one of them was picked."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from farm_notebook.providers.logprobs import LEAST
from farm_notebook.types import TokenLogprob

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

__all__ = ["Likelihoods"]

CONTEXT_TOKENS = 4  # before a token, so that its first space is right


class Likelihoods:
    """A processor of scores that leaves them as they are, and remembers them until their token is told.

    transformers calls it after its penalties, and before temperature, top_k, top_p and a grammar. So the
    probabilities are the model's own, whatever is drawn from them.

    Args:
        count: How many of the likeliest tokens are told in each place.
        tokenizer: Special tokens are told as well.
        before: Tokens that the answer's text continues.
    """

    def __init__(self, count: int, tokenizer: PreTrainedTokenizerBase, before: Sequence[int] = ()) -> None:
        self._count = count
        self._tokenizer = tokenizer
        self._before = deque(before, maxlen=CONTEXT_TOKENS)
        self._seen: deque[torch.Tensor] = (
            deque()
        )  # a place each: filled by the engine's thread, emptied on the loop

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """See the scores of the next token, ``[1, vocabulary]``."""
        self._seen.append(scores[0].float().log_softmax(-1))
        return scores

    def next(self, token: int) -> TokenLogprob:
        """How likely the answer's next token was; each is told once, in their order."""
        logprobs = self._seen.popleft()
        top = logprobs.topk(min(self._count, len(logprobs)))
        told = TokenLogprob(
            self._text(token),
            max(logprobs[token].item(), LEAST),
            tuple(
                (self._text(other), max(logprob, LEAST))
                for logprob, other in zip(top.values.tolist(), top.indices.tolist(), strict=True)
            ),
        )
        self._before.append(token)
        return told

    def _text(self, token: int) -> str:
        """What a token adds to those before it, or is by itself where they are parts of one character."""
        before, text = self._decode([*self._before]), self._decode([*self._before, token])
        return (text.startswith(before) and text[len(before) :]) or self._decode([token])

    def _decode(self, tokens: list[int]) -> str:
        text = self._tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)  # one list of tokens, not several
        return text
