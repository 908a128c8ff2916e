"""Tokens become text, and text becomes the parts of an answer, however it is cut into pieces."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from farm_notebook.providers.huggingface.detokenize import LONGEST_WAIT_TOKENS, Detokenizer
from farm_notebook.providers.huggingface.markup import Markup
from farm_notebook.providers.stopping import StopStrings
from farm_notebook.types import ReasoningDelta, TextDelta, ToolCall

CORPUS = ["the cat sat on the mat", "日本語のテキスト", "😀 👩‍👩‍👧 naïve café", "a  b   c\n\n\tdef f(x):"]
TEXTS = st.text(
    st.one_of(st.sampled_from("ab \n日本語é😀\ufffd<>"), st.characters(codec="utf-8")), max_size=40
)


def byte_level() -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    raw.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw)


def sentence_piece() -> PreTrainedTokenizerFast:
    """As Llama 2 has it: spaces are ``▁``, one is put before a text, and unknown characters are bytes."""
    pieces = [("<unk>", 0.0), *((f"<0x{byte:02X}>", -9.0) for byte in range(256))]
    words = ["▁", "▁the", "▁cat", "▁sat", "a", "b", "t", "h", "e", "c", "s", "▁▁", "日", "本"]
    raw = Tokenizer(models.Unigram([*pieces, *((word, -2.0) for word in words)], 0, byte_fallback=True))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw)


BYTE_LEVEL, SENTENCE_PIECE = byte_level(), sentence_piece()
TOKENIZERS = pytest.mark.parametrize(
    "tokenizer", [BYTE_LEVEL, SENTENCE_PIECE], ids=["bytes", "sentencepiece"]
)


def ids_of(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def pushed(tokenizer: Any, ids: Sequence[int], before: Sequence[int] = ()) -> list[str]:
    detokenizer = Detokenizer(tokenizer, before)
    return [detokenizer.push(token) for token in ids]


@TOKENIZERS
@given(text=TEXTS)
def test_the_pieces_of_a_text_are_the_text(tokenizer: Any, text: str) -> None:
    ids = ids_of(tokenizer, text)
    whole = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert "".join(pushed(tokenizer, ids)).rstrip("\ufffd") == whole.rstrip("\ufffd")


@TOKENIZERS
def test_no_piece_holds_half_a_character(tokenizer: Any) -> None:
    ids = ids_of(tokenizer, "a 👩‍👩‍👧 b 語 é")
    assert any("\ufffd" in tokenizer.decode([token]) for token in ids), "or this shows nothing"
    assert not any("\ufffd" in piece for piece in pushed(tokenizer, ids))


@TOKENIZERS
def test_an_answer_that_is_cut_inside_a_character_ends_before_it(tokenizer: Any) -> None:
    ids = ids_of(tokenizer, "a 😀")
    assert "".join(pushed(tokenizer, ids[:-1])).rstrip() == "a"


@TOKENIZERS
def test_a_continuation_begins_with_the_space_that_belongs_to_it(tokenizer: Any) -> None:
    before, ids = ids_of(tokenizer, "the cat"), ids_of(tokenizer, "the cat sat")
    assert ids[: len(before)] == before
    assert "".join(pushed(tokenizer, ids[len(before) :], before)) == " sat"


def test_bytes_that_are_no_text_are_shown_after_a_while_and_not_kept_for_ever() -> None:
    token = BYTE_LEVEL.get_vocab()["¢"]  # a byte that only ever stands inside a character
    broken = [token] * (LONGEST_WAIT_TOKENS * 3)
    assert BYTE_LEVEL.decode(broken[:1]) == "\ufffd"
    assert "".join(pushed(BYTE_LEVEL, broken)) == "\ufffd" * len(broken)


def test_the_work_grows_with_the_text_and_not_with_its_square() -> None:
    class Counting:
        decoded = 0

        def decode(self, tokens: list[int], **options: Any) -> str:
            self.decoded += len(tokens)
            return str(BYTE_LEVEL.decode(tokens, **options))

    costs = []
    for repeats in (50, 100):
        tokenizer: Any = Counting()
        pushed(tokenizer, ids_of(BYTE_LEVEL, "the 日本語 cat 😀 " * repeats))
        costs.append(tokenizer.decoded)
    assert costs[1] < 2.1 * costs[0]


def cut(text: str, sizes: Sequence[int]) -> Iterator[str]:
    """The text in pieces of these sizes, over and over."""
    steps = itertools.cycle(sizes)
    while text:
        size = next(steps)
        yield text[:size]
        text = text[size:]


@given(
    text=st.text("abc", max_size=30),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
)
def test_text_ends_before_the_first_stop_string_however_it_comes(
    text: str, stops: list[str], sizes: list[int]
) -> None:
    said, filter = "", StopStrings(stops)
    for piece in cut(text, sizes):
        said += filter.push(piece)
        assert not any(stop in said for stop in stops)
        if filter.found:
            break
    else:
        said += filter.flush()
    assert filter.found is any(stop in text for stop in stops)
    # Of two stop strings that overlap, the one that is whole first ends the answer.
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    assert said == text if not ends else text.startswith(said) and len(said) < min(ends)


def test_no_more_is_held_back_than_may_be_a_stop_string() -> None:
    filter = StopStrings(["STOP"])
    assert [filter.push(piece) for piece in ("abc", "S", "x", "ST", "OP")] == ["abc", "", "Sx", "", ""]


def parts(
    text: str, sizes: Sequence[int] = (1,), *, is_thinking: bool = False
) -> tuple[str, str, list[ToolCall]]:
    """Reasoning, text and calls; no part may be empty, and the order must be that of the text."""
    markup = Markup(is_thinking=is_thinking, has_tools=True)
    found = [part for piece in cut(text, sizes) for part in markup.push(piece)] + list(markup.flush())
    calls = [part for part in found if isinstance(part, ToolCall)]
    assert all(part.text for part in found if not isinstance(part, ToolCall))
    assert markup.calls == len(calls)
    thought = "".join(part.text for part in found if isinstance(part, ReasoningDelta))
    return thought, "".join(part.text for part in found if isinstance(part, TextDelta)), calls


CALL = '<tool_call>\n{"name": "f", "arguments": {"x": "</tool_cal>"}}\n</tool_call>'
SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@given(sizes=SIZES)
def test_reasoning_text_and_calls_are_told_apart_however_they_come(sizes: list[int]) -> None:
    thought, said, calls = parts(f"<think>\nhm <b> hm\n</think>\n\nSure.{CALL}\n{CALL}", sizes)
    assert (thought, said) == ("hm <b> hm\n", "Sure.")
    assert [(call.name, call.parsed) for call in calls] == [("f", {"x": "</tool_cal>"})] * 2
    assert len({call.id for call in calls}) == 2


@given(sizes=SIZES)
def test_an_answer_may_begin_inside_the_reasoning(sizes: list[int]) -> None:
    assert parts("hm\n</think>\n\nyes", sizes, is_thinking=True) == ("hm\n", "yes", [])


@given(sizes=SIZES)
@pytest.mark.parametrize(
    "text",
    [
        "Write <think> around it, and </think>.",
        "<thinking> is another word",
        "  indented < text <tool_cal",
        "<tool_call>no json</tool_call>",
        '<tool_call>{"arguments": {}}</tool_call>',
        "<tool_call>{",
    ],
)
def test_what_only_looks_like_markup_is_text(text: str, sizes: list[int]) -> None:
    assert parts(text, sizes) == ("", text, [])


def test_a_call_whose_end_was_cut_off_is_one_if_it_is_whole() -> None:
    _, said, calls = parts(CALL.removesuffix("</tool_call>"))
    assert (said, [call.name for call in calls]) == ("", ["f"])


def test_arguments_that_are_no_object_are_passed_on_as_written() -> None:
    _, _, (call,) = parts(f"<tool_call>{json.dumps({'name': 'f', 'arguments': 'x'})}</tool_call>")
    assert call.arguments == "x"


def test_without_tools_their_tags_are_text() -> None:
    markup = Markup(is_thinking=False, has_tools=False)
    assert list(markup.push(CALL)) == [TextDelta(CALL)]
