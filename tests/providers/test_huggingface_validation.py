"""What is loaded is asked for one word before it serves; if it has none it says what is wrong with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

import torch
import transformers as hf
from checkpoints import loaded_from, one_thread

from farm_notebook.errors import LoadError, OutOfMemoryError
from farm_notebook.providers.huggingface.validation import validate
from farm_notebook.providers.huggingface.work import Halt, HaltedError

Break = Callable[[Any], object]
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


@pytest.fixture(scope="module", autouse=True)
def on_one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def loaded(tiny_model: Path) -> Any:
    return loaded_from(tiny_model)


def save_beside(module: Any, tiny_model: Path, folder: Path) -> Path:
    """A model with the tiny one's tokenizer, which has no chat template then."""
    module.save_pretrained(folder)
    for file in tiny_model.glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def template(text: str) -> Break:
    return lambda loaded: setattr(loaded.tokenizer, "chat_template", text)


def weight(name: str, value: float) -> Break:
    return lambda loaded: loaded.module.get_parameter(name).data.view(-1)[-1:].fill_(value)


def forget_bos(loaded: Any) -> None:
    loaded.module.generation_config.bos_token_id = 99_999


BROKEN: dict[str, tuple[Break, str]] = {
    "a word too many": (
        lambda loaded: loaded.tokenizer.add_tokens(["wordy"]),
        r"embeddings for \d+ tokens, and its tokenizer has \d+: there is none for 'wordy' \(\d+\)\. .*resize",
    ),
    "a pad token without an embedding": (
        lambda loaded: loaded.tokenizer.add_special_tokens({"pad_token": "<fill>"}),
        r"there is none for 'pad_token <fill>' \(\d+\)",
    ),
    "a first token that is none": (
        forget_bos,
        r"there is none for 'generation_config\.bos_token_id' \(99999\)",
    ),
    "a template that is none": (template("{% if %}"), r"chat template of .* fails .*chat_template\.jinja"),
    "a template that refuses": (
        template("{{ raise_exception('not today') }}"),
        "fails on a user's message: not today",
    ),
    "a template without the message": (template("Hi!"), "leaves out what the user says: it made 'Hi!'"),
    "a weight that is no number": (
        weight("model.layers.1.mlp.up_proj.weight", float("nan")),
        r"not finite: its weight model\.layers\.1\.mlp\.up_proj\.weight has NaN or Inf",
    ),
    "a weight that is infinite": (
        weight("model.norm.weight", float("-inf")),
        r"not finite: its weight model\.norm\.weight has NaN or Inf",
    ),
    "numbers that grow too large": (
        lambda loaded: loaded.module.model.norm.weight.data.fill_(3e38),
        r"its weights are finite, so float32 is too narrow .*huggingface\.dtype",
    ),
    "weights of another shape": (
        lambda loaded: setattr(loaded.module.model.layers[0].mlp, "down_proj", torch.nn.Linear(7, 64)),
        r"fails at its first word: RuntimeError: .*not of one model",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_answer_says_why(case: str, loaded: Any, tiny_model: Path) -> None:
    break_it, reason = BROKEN[case]
    validate(loaded, Halt())
    break_it(loaded)
    with pytest.raises(LoadError, match=reason) as caught:
        validate(loaded, Halt())
    assert str(tiny_model) in str(caught.value)


def test_a_special_token_that_stands_for_no_text_needs_no_embedding(loaded: Any) -> None:
    loaded.tokenizer.add_special_tokens({"additional_special_tokens": ["<picture>"]})
    validate(loaded, Halt())
    loaded.tokenizer.chat_template = "<picture>{{ messages[0].content }}"
    with pytest.raises(LoadError, match=r"has tokens for which the model has no embedding .*'<picture>'"):
        validate(loaded, Halt())


def test_a_model_without_a_template_need_not_chat(loaded: Any) -> None:
    loaded.tokenizer.chat_template = None
    validate(loaded, Halt())


@pytest.mark.parametrize("kind", ["an encoder", "both"])
def test_a_model_that_only_embeds_gives_a_vector(kind: str, tiny_model: Path, tmp_path: Path) -> None:
    words = len(hf.AutoTokenizer.from_pretrained(tiny_model))
    module: Any
    if kind == "both":
        sizes: dict[str, Any] = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
        module = hf.T5Model(hf.T5Config(vocab_size=words, **sizes))
    else:
        module = hf.BertModel(hf.BertConfig(vocab_size=words, **SMALL))
    loaded = loaded_from(save_beside(module, tiny_model, tmp_path / "embeds"))
    validate(loaded, Halt())
    name, parameter = next(iter(loaded.module.named_parameters()))
    parameter.data.fill_(float("nan"))
    with pytest.raises(LoadError, match=f"its weight {name} has NaN"):
        validate(loaded, Halt())


def test_a_model_that_wants_more_than_text_is_taken_as_it_is(tiny_model: Path, tmp_path: Path) -> None:
    words = len(hf.AutoTokenizer.from_pretrained(tiny_model))
    config = hf.CLIPConfig(
        text_config={**SMALL, "vocab_size": words, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
        vision_config={**SMALL, "image_size": 8, "patch_size": 4},
        projection_dim=16,
    )
    validate(loaded_from(save_beside(hf.CLIPModel(config), tiny_model, tmp_path / "clip")), Halt())


def test_one_that_is_asked_to_stop_stops(loaded: Any) -> None:
    halt = Halt()
    halt.ask()
    with pytest.raises(HaltedError):
        validate(loaded, halt)


def test_memory_that_is_short_is_told_as_such(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(input_ids: object, **_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loaded.module, "forward", short)
    with pytest.raises(OutOfMemoryError, match="leaves cpu no memory to answer with"):
        validate(loaded, Halt())


def test_nothing_of_the_model_is_changed(loaded: Any) -> None:
    before = {name: tensor.clone() for name, tensor in loaded.module.state_dict().items()}
    random = torch.random.get_rng_state()
    validate(loaded, Halt())
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.module.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())
