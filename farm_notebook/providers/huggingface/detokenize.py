"""Text out of tokens that come one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Detokenizer"]

HALF = "\N{REPLACEMENT CHARACTER}"  # what a tokenizer makes of bytes that are no whole character
CONTEXT_TOKENS = 4  # of the prompt before a continuation, so that its first space is right
LONGEST_WAIT_TOKENS = 16  # no character is in more; what still ends in half of one is the model's own mistake


class Detokenizer:
    """Gives the text that the tokens so far have settled, and never half a character.

    Only a window of the last few tokens is decoded at a time, so that the work grows with the answer and not
    with its square. The window begins with tokens whose text was given already: whether a token begins with a
    space is for many tokenizers decided by whether another stands before it.

    Args:
        tokenizer: Special tokens are left out.
        before: Tokens that the text continues.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._known = list(before[-CONTEXT_TOKENS:])
        self._new: list[int] = []
        self._known_text = self._decode(self._known)
        self._given = ""

    def push(self, token: int) -> str:
        """The next piece of text, which may be empty."""
        self._new.append(token)
        text = self._decode(self._known + self._new)[len(self._known_text) :]
        settled = text.rstrip(HALF)
        is_whole = settled == text or len(self._new) >= LONGEST_WAIT_TOKENS
        if is_whole:
            settled = text
        piece, self._given = settled[len(self._given) :], settled
        if is_whole and text:
            self._known, self._new, self._given = self._new, [], ""
            self._known_text = self._decode(self._known)
        return piece

    def _decode(self, tokens: list[int]) -> str:
        text = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)  # one list of tokens, not several
        return text
