"""Vectors of texts are those of the model, whoever asks with whom, and by the layout its folder describes."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

import torch
import transformers as hf
from checkpoints import one_thread
from contract import drain, on_farm_loop
from safetensors.torch import save_file

from farm_notebook.config import load_config
from farm_notebook.errors import ContextLengthError, InvalidRequestError, LoadError
from farm_notebook.providers.huggingface.embeddings import BATCH_TOKENS, embed
from farm_notebook.providers.huggingface.provider import HuggingFaceProvider
from farm_notebook.types import ChatMessage, ChatRequest, ModelRef

SENTENCE = "a cat sat on the mat while two dogs ran over a green hill to the old house by the sea"
WORDS = SENTENCE.split()
TEXTS = [
    "a cat",
    " ".join(WORDS),
    "the old house by the sea",
    "two",
    "A Green Hill",
    " ".join(WORDS[::-1] * 2),
]
WIDTH = 16
LONGEST = 64
LET_GO_S = 30.0
POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


@pytest.fixture(scope="module", autouse=True)
def on_one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A tiny BERT of random weights that reads ``WORDS``, in a folder of its own."""
    folder = tmp_path / "bert"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(WORDS)), "query", ":"]
    tokenizer = hf.BertTokenizer(
        vocab={word: number for number, word in enumerate(vocabulary)}, do_lower_case=True
    )
    tokenizer.model_max_length = LONGEST
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = hf.BertModel(
            hf.BertConfig(
                vocab_size=len(vocabulary),
                hidden_size=WIDTH,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=LONGEST,
                initializer_range=0.5,
            )
        )
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def lay_out(
    folder: Path,
    *modules: str,
    pooling: dict[str, Any] | None = None,
    dense: dict[str, Any] | None = None,
    bert: dict[str, Any] | None = None,
    prompts: dict[str, Any] | None = None,
) -> Path:
    """Put the files of sentence-transformers into a model's folder."""
    kinds = ("Transformer", *(modules or ("Pooling",)))
    entries = [
        {
            "idx": number,
            "name": str(number),
            "path": f"{number}_{kind}" if number else "",
            "type": kind if "." in kind else f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(kinds)
    ]
    write(folder / "modules.json", entries)
    for entry in entries[1:]:
        place = folder / str(entry["path"])
        place.mkdir(parents=True)
        if place.name.endswith("Pooling"):
            write(
                place / "config.json", {"embedding_dimension": WIDTH} | (pooling or {"pooling_mode": "mean"})
            )
        if place.name.endswith("Dense"):
            features = {"in_features": WIDTH, "out_features": 5, "bias": True}
            write(place / "config.json", features | {"activation_function": "torch.nn.Tanh"} | (dense or {}))
            generator = torch.Generator().manual_seed(3)
            weight, bias = torch.randn(5, WIDTH, generator=generator), torch.randn(5, generator=generator)
            save_file({"linear.weight": weight, "linear.bias": bias}, place / "model.safetensors")
    write(folder / "sentence_bert_config.json", bert or {})
    write(folder / "config_sentence_transformers.json", prompts or {})
    return folder


def write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value))


@asynccontextmanager
async def provided() -> AsyncIterator[HuggingFaceProvider]:
    provider = HuggingFaceProvider(load_config({"huggingface": {"device": "cpu", "dtype": "float32"}}))
    try:
        yield provider
    finally:
        await provider.aclose()


async def vectors_of(folder: Path, texts: list[str] = TEXTS) -> torch.Tensor:
    async with provided() as provider:
        return torch.tensor((await provider.embed(texts, str(folder))).vectors)


def states_of(folder: Path, text: str) -> torch.Tensor:
    """The last hidden state of one text, ``[tokens, width]``, as transformers gives it."""
    module = hf.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = hf.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        state: torch.Tensor = module(**inputs).last_hidden_state[0]
    return state


def unit(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.stack(rows), dim=-1)


async def assert_alone_as_together(folder: Path) -> None:
    async with provided() as provider:
        together = await provider.embed(TEXTS, str(folder))
        for text, vector in zip(TEXTS, together.vectors, strict=True):
            alone = await provider.embed([text], str(folder))
            assert vector == pytest.approx(alone.vectors[0], abs=1e-4)
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    assert together.usage.input_tokens == sum(len(tokenizer(text)["input_ids"]) for text in TEXTS)
    assert [sum(x * x for x in vector) for vector in together.vectors] == pytest.approx([1.0] * len(TEXTS))
    expected = unit([states_of(folder, text).mean(0) for text in TEXTS])
    torch.testing.assert_close(torch.tensor(together.vectors), expected, atol=1e-4, rtol=0)


@on_farm_loop
async def test_a_text_has_the_same_vector_alone_and_among_longer_ones(tiny_model: Path) -> None:
    await assert_alone_as_together(tiny_model)


@pytest.mark.model
@pytest.mark.slow
@on_farm_loop
async def test_so_it_has_with_a_real_model(converted_model: Path) -> None:
    await assert_alone_as_together(converted_model)


@on_farm_loop
async def test_so_it_has_with_an_encoder(bert: Path) -> None:
    await assert_alone_as_together(bert)


@on_farm_loop
async def test_an_encoder_embeds_and_does_not_answer(bert: Path) -> None:
    request = ChatRequest(ModelRef("huggingface", str(bert)), (ChatMessage("user", "a cat"),))
    async with provided() as provider:
        with pytest.raises(InvalidRequestError, match=r"BertModel does not continue texts"):
            await provider.chat(request)


@on_farm_loop
async def test_more_texts_than_fit_into_a_batch_come_back_in_order(bert: Path) -> None:
    texts = [" ".join(WORDS[: 1 + number % len(WORDS)]) for number in range(200)]
    few = await vectors_of(bert, texts[: len(WORDS)])
    assert sum(len(text.split()) for text in texts) > BATCH_TOKENS["cpu"]
    many = await vectors_of(bert, texts)
    expected = few.repeat(200 // len(WORDS) + 1, 1)[:200]
    torch.testing.assert_close(many, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("pooling", POOLINGS)
@on_farm_loop
async def test_texts_are_pooled_as_the_layout_says(bert: Path, pooling: str) -> None:
    def pooled(text: str) -> torch.Tensor:
        state = states_of(bert, text)
        places = torch.arange(1.0, len(state) + 1)[:, None]
        return {
            "cls": state[0],
            "max": state.amax(0),
            "mean": state.mean(0),
            "mean_sqrt_len_tokens": state.mean(0),  # which differs in length only
            "weightedmean": (state * places).sum(0) / places.sum(),
            "lasttoken": state[-1],
        }[pooling]

    lay_out(bert, pooling={"pooling_mode": pooling})
    expected = unit([pooled(text) for text in TEXTS])
    torch.testing.assert_close(await vectors_of(bert), expected, atol=1e-5, rtol=0)


@on_farm_loop
async def test_older_folders_name_the_pooling_by_booleans_and_may_have_several(bert: Path) -> None:
    lay_out(bert, pooling={"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True})
    states = [states_of(bert, text) for text in TEXTS]
    expected = unit([torch.cat([state[0], state.mean(0)]) for state in states])
    torch.testing.assert_close(await vectors_of(bert), expected, atol=1e-5, rtol=0)


@on_farm_loop
async def test_a_dense_layer_stands_behind_the_pooling(bert: Path) -> None:
    lay_out(bert, "Pooling", "Dense", "Normalize")
    generator = torch.Generator().manual_seed(3)
    weight, bias = torch.randn(5, WIDTH, generator=generator), torch.randn(5, generator=generator)
    expected = unit([torch.tanh(weight @ states_of(bert, text).mean(0) + bias) for text in TEXTS])
    torch.testing.assert_close(await vectors_of(bert), expected, atol=1e-5, rtol=0)


@on_farm_loop
async def test_a_default_prompt_is_put_before_each_text(bert: Path) -> None:
    prompts = {"prompts": {"search": "query : "}, "default_prompt_name": "search"}
    lay_out(bert, prompts=prompts)
    expected = unit([states_of(bert, "query : " + text).mean(0) for text in TEXTS])
    torch.testing.assert_close(await vectors_of(bert), expected, atol=1e-5, rtol=0)


@on_farm_loop
async def test_a_prompt_can_be_left_out_of_the_pooling(bert: Path) -> None:
    prompts = {"prompts": {"search": "query : "}, "default_prompt_name": "search"}
    lay_out(bert, pooling={"pooling_mode": "mean", "include_prompt": False}, prompts=prompts)
    expected = unit([states_of(bert, "query : " + text)[3:].mean(0) for text in TEXTS])
    torch.testing.assert_close(await vectors_of(bert), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("modules", "options"),
    [
        *(((), {"pooling": {"pooling_mode": mode}}) for mode in POOLINGS),
        (("Pooling", "Normalize"), {}),
        (("Pooling", "Dense", "Normalize"), {}),
        (
            ("Pooling", "Normalize", "Dense"),
            {"dense": {"activation_function": "torch.nn.modules.linear.Identity"}},
        ),
        (
            (),
            {
                "pooling": {"pooling_mode": "weightedmean", "include_prompt": False},
                "prompts": {"prompts": {"search": "query : "}, "default_prompt_name": "search"},
            },
        ),
    ],
)
@on_farm_loop
async def test_vectors_are_those_of_sentence_transformers(
    bert: Path, modules: tuple[str, ...], options: dict[str, Any]
) -> None:
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    lay_out(bert, *modules, **options)
    peer = library.SentenceTransformer(str(bert), device="cpu", local_files_only=True)
    expected = torch.tensor(peer.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False))
    torch.testing.assert_close(await vectors_of(bert), expected, atol=1e-5, rtol=0)


@on_farm_loop
async def test_a_text_that_is_too_long_is_refused_with_the_counts(bert: Path) -> None:
    long = " ".join(["cat"] * LONGEST)
    async with provided() as provider:
        with pytest.raises(
            ContextLengthError, match=r"text 1 \('cat cat .*\.\.\.'\) has 66 tokens; at most 64"
        ) as caught:
            await provider.embed(["a cat", long], str(bert))
        assert (caught.value.tokens, caught.value.limit) == (LONGEST + 2, LONGEST)
        fitting = " ".join(["cat"] * (LONGEST - 2))
        assert len((await provider.embed([fitting], str(bert))).vectors) == 1


@on_farm_loop
async def test_a_layout_may_take_shorter_texts_only(bert: Path) -> None:
    lay_out(bert, bert={"max_seq_length": 8})
    with pytest.raises(ContextLengthError, match="at most 8 fit"):
        await vectors_of(bert)


@on_farm_loop
async def test_a_text_without_tokens_is_refused(tiny_model: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"Text 1 \(''\) has no tokens"):
        await vectors_of(tiny_model, ["a cat", ""])


@on_farm_loop
async def test_no_texts_are_no_vectors_and_no_tokens(bert: Path) -> None:
    async with provided() as provider, provider.lease(str(bert)):
        embeddings = await provider.embed([], str(bert))
    assert embeddings.vectors == ()
    assert embeddings.usage.input_tokens in (0, None)


@on_farm_loop
async def test_a_cancel_ends_the_work_between_two_batches(bert: Path) -> None:
    async with provided() as provider:
        await drain(provider.load_model(str(bert)))
        (version,) = provider._shelf.versions().values()
        resident = version.value
        begun, calls = asyncio.Event(), []
        loop = asyncio.get_running_loop()
        go_on = asyncio.Event()

        def look(module: Any, inputs: Any, output: Any) -> None:
            calls.append(1)
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(LET_GO_S)

        resident.loaded.module.register_forward_hook(look)
        work = asyncio.create_task(embed(resident.loaded, [" ".join(WORDS)] * 1000))
        await begun.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        go_on.set()
        give_up_at = time.monotonic() + LET_GO_S
        while any(thread.name == "farm-huggingface" for thread in threading.enumerate()):
            assert time.monotonic() < give_up_at, "it goes on"
            await asyncio.sleep(0.01)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("modules", "options", "words"),
    [
        (
            ("Pooling", "LSTM"),
            {},
            r"'sentence_transformers\.models\.LSTM', which is not known.*Transformer, Pooling",
        ),
        (("Pooling", "evil.Dense"), {}, r"a module 'evil\.Dense', which is not known"),
        (("Normalize",), {}, "has no Pooling"),
        ((), {"pooling": {"pooling_mode": "median"}}, r"the pooling 'median'\. Known: cls, max, mean"),
        (("Pooling", "Dense"), {"dense": {"activation_function": "os.system"}}, r"activation 'os\.system'"),
        (
            ("Pooling", "Dense"),
            {"dense": {"activation_function": "torch.nn.Bilinear"}},
            r"'torch\.nn\.Bilinear'",
        ),
        (("Pooling", "Dense"), {"dense": {"use_residual": True}}, "a residual"),
    ],
)
@on_farm_loop
async def test_a_layout_that_is_not_known_is_refused(
    bert: Path, modules: tuple[str, ...], options: dict[str, Any], words: str
) -> None:
    lay_out(bert, *modules, **options)
    with pytest.raises(LoadError, match=words):
        await vectors_of(bert)


@on_farm_loop
async def test_pickled_weights_of_a_dense_layer_are_not_read(bert: Path) -> None:
    lay_out(bert, "Pooling", "Dense")
    weights = bert / "2_Dense" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(LoadError, match="pickled weights are not read"):
        await vectors_of(bert)


@on_farm_loop
async def test_a_layout_does_not_lead_out_of_its_folder(bert: Path) -> None:
    lay_out(bert)
    modules = json.loads((bert / "modules.json").read_text())
    modules[1]["path"] = "../elsewhere"
    write(bert / "modules.json", modules)
    with pytest.raises(LoadError, match=r"leads out of its folder: '\.\./elsewhere'"):
        await vectors_of(bert)


@on_farm_loop
async def test_a_layout_that_is_no_json_is_named(bert: Path) -> None:
    lay_out(bert)
    (bert / "modules.json").write_text("[{")
    with pytest.raises(LoadError, match=r"modules\.json' cannot be read"):
        await vectors_of(bert)


@on_farm_loop
async def test_numbers_that_overflow_are_told(bert: Path) -> None:
    async with provided() as provider, provider.lease(str(bert)) as leased:
        embeddings: Any = leased.module.get_input_embeddings()
        embeddings.weight.fill_(torch.inf)
        with pytest.raises(Exception, match=r"not finite in torch\.float32"):
            await provider.embed(["a cat"], str(bert))
