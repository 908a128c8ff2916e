"""Requests answered together get what they would get alone, and do not get into each other's way."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

import torch
import transformers as hf
from checkpoints import one_thread
from contract import on_farm_loop
from hypothesis import given, settings
from hypothesis import strategies as st

from farm_notebook.errors import ModelUnloadedError, OutOfMemoryError, ProviderError
from farm_notebook.providers.huggingface.batching import READ_TOKENS, Batcher, Tokens, can_batch
from farm_notebook.types import PromptProgress

LET_GO_S = 30.0
VOCABULARY = 128
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 1024,
    "initializer_range": 0.4,  # so large that the likeliest token stands out
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
GROUPED = SMALL | {"num_key_value_heads": 2}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: hf.LlamaConfig(**GROUPED),
    "sliding window": lambda: hf.MistralConfig(**GROUPED, sliding_window=8),
    "alternating windows": lambda: hf.Gemma2Config(**GROUPED, head_dim=8, sliding_window=8),
    "learned positions": lambda: hf.GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, initializer_range=0.4, eos_token_id=None
    ),
    "biases for positions": lambda: hf.BloomConfig(
        vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.4, eos_token_id=None
    ),
    "experts": lambda: hf.MixtralConfig(**GROUPED, num_local_experts=4, num_experts_per_tok=2),
}
GREEDY = hf.GenerationConfig(do_sample=False)
SAMPLED = hf.GenerationConfig(do_sample=True, temperature=0.9, top_p=0.95)


@pytest.fixture(scope="module", autouse=True)
def on_one_thread() -> Iterator[None]:
    with one_thread():
        yield


def make(kind: str = "llama") -> Any:
    """A module of random weights, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return hf.AutoModelForCausalLM.from_config(CONFIGS[kind](), dtype=torch.float32).eval()


def alone(module: Any, prompt: Sequence[int], max_tokens: int, **options: Any) -> list[int]:
    """What transformers itself answers."""
    ids = torch.tensor([list(prompt)])
    with torch.inference_mode():
        answer = module.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_tokens,
            pad_token_id=0,
            **({"do_sample": False} | options),
        )
    return list(answer[0, len(prompt) :].tolist())


async def asked(
    batcher: Batcher,
    prompt: Sequence[int],
    max_tokens: int,
    config: Any = GREEDY,
    begun: asyncio.Event | None = None,
    **options: Any,
) -> tuple[list[int], str | None]:
    """All tokens of an answer, and why it ended; ``begun`` is set with the first."""
    ids: list[int] = []
    reason = None
    async with aclosing(batcher.answer(prompt, config, max_tokens=max_tokens, **options)) as steps:
        async for step in steps:
            if isinstance(step, Tokens):
                ids += step.ids
                reason = step.reason
                if begun is not None:
                    begun.set()
    return ids, reason


class Answer:
    """What has been answered so far."""

    def __init__(self, steps: AsyncGenerator[Tokens | PromptProgress, None]) -> None:
        self._steps = steps
        self._ids: list[int] = []

    async def more(self) -> list[int]:
        """All tokens, at least one of which was not there yet when this was called."""
        for _ in range(2):  # what has arrived, in one piece, and what arrives next
            step = await anext(self._steps)
            assert isinstance(step, Tokens)
            self._ids += step.ids
        return self._ids


@asynccontextmanager
async def endless(batcher: Batcher, prompt: Sequence[int]) -> AsyncIterator[Answer]:
    """An answer that is being given throughout the block, however long it takes."""
    async with aclosing(batcher.answer(prompt, GREEDY, max_tokens=1_000_000)) as steps:
        answer = Answer(steps)
        await answer.more()
        yield answer


@asynccontextmanager
async def batching(module: Any, max_rows: int = 16) -> AsyncIterator[Batcher]:
    batcher = Batcher(module, name="tiny", max_rows=max_rows)
    yield batcher
    await batcher.aclose()
    assert await has_no_thread()


async def has_no_thread() -> bool:
    give_up_at = time.monotonic() + LET_GO_S
    while any(thread.name == "farm-huggingface" for thread in threading.enumerate()):
        if time.monotonic() > give_up_at:
            return False
        await asyncio.sleep(0.01)
    return True


def prompts(count: int, seed: int = 0) -> list[list[int]]:
    dice = random.Random(seed)
    return [[dice.randrange(1, VOCABULARY) for _ in range(dice.randrange(1, 40))] for _ in range(count)]


class Trap:
    """A hook in a module that raises when it is to read a certain token."""

    def __init__(self, module: Any, token: int, error: Exception) -> None:
        self.calls = 0
        self._token, self._error = token, error
        module.get_input_embeddings().register_forward_pre_hook(self)

    def __call__(self, module: Any, inputs: tuple[Any, ...]) -> None:
        self.calls += 1
        if (inputs[0] == self._token).any():
            raise self._error


@pytest.mark.parametrize("kind", CONFIGS)
@on_farm_loop
async def test_answers_given_together_are_those_given_alone(kind: str) -> None:
    module = make(kind)
    questions = prompts(9)
    expected = [(alone(module, prompt, 24), "length") for prompt in questions]
    async with batching(module) as batcher:
        answers = await asyncio.gather(*(asked(batcher, prompt, 24) for prompt in questions))
    assert answers == expected
    assert len({tuple(ids) for ids, _ in answers}) > 1


@on_farm_loop
async def test_an_answer_longer_than_the_room_kept_for_it_is_whole() -> None:
    module = make()
    prompt = prompts(1)[0]
    async with batching(module) as batcher:
        assert await asked(batcher, prompt, 300) == (alone(module, prompt, 300), "length")


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 12), st.integers(0, 6)), min_size=1, max_size=7),
    st.integers(1, 4),
)
@on_farm_loop
async def test_requests_come_and_go_at_any_step(requests: list[tuple[int, int, int]], max_rows: int) -> None:
    module = make()
    dice = random.Random(0)
    steps = asyncio.Queue[None]()  # something happened in some answer

    async def ask(prompt: list[int], max_tokens: int) -> list[int]:
        ids: list[int] = []
        async for step in batcher.answer(prompt, GREEDY, max_tokens=max_tokens):
            steps.put_nowait(None)
            if isinstance(step, Tokens):
                ids += step.ids
        return ids

    async with batching(module, max_rows) as batcher:
        tasks: list[asyncio.Task[list[int]]] = []
        expected = []
        for length, max_tokens, wait in requests:
            prompt = [dice.randrange(1, VOCABULARY) for _ in range(length)]
            expected.append(alone(module, prompt, max_tokens))
            for _ in range(wait):
                if all(task.done() for task in tasks):
                    break
                step = asyncio.ensure_future(steps.get())
                await asyncio.wait([step, *tasks], return_when=asyncio.FIRST_COMPLETED)
                step.cancel()
            tasks.append(asyncio.create_task(ask(prompt, max_tokens)))
        answers = await asyncio.gather(*tasks)
    assert answers == expected


@on_farm_loop
async def test_an_end_token_ends_the_answer_and_is_no_part_of_it() -> None:
    module = make()
    prompt = prompts(1)[0]
    whole = alone(module, prompt, 20)
    end = next(token for token in whole[3:] if token not in whole[:3])
    config = hf.GenerationConfig(do_sample=False, eos_token_id=[end])
    async with batching(module) as batcher:
        answer = await asked(batcher, prompt, 20, config)
    assert answer == (whole[: whole.index(end)], "stop")


@on_farm_loop
async def test_a_seed_repeats_an_answer_in_any_company_and_is_that_of_transformers() -> None:
    module = make()
    questions = prompts(8)
    torch.manual_seed(7)
    options = {"temperature": SAMPLED.temperature, "top_p": SAMPLED.top_p}
    expected = alone(module, questions[0], 24, do_sample=True, **options)
    greedy = [alone(module, prompt, 24) for prompt in questions[1:]]
    async with batching(module) as batcher:
        single, _ = await asked(batcher, questions[0], 24, SAMPLED, seed=7)
        answers = await asyncio.gather(
            asked(batcher, questions[0], 24, SAMPLED, seed=7),
            *(asked(batcher, prompt, 24) for prompt in questions[1:]),
            asked(batcher, questions[0], 24, SAMPLED, seed=8),
        )
    ids = [ids for ids, _ in answers]
    assert single == ids[0] == expected
    assert ids[1:-1] == greedy
    assert ids[-1] != expected


@on_farm_loop
async def test_the_random_source_of_the_user_is_left_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    async with batching(make()) as batcher:
        await asked(batcher, [1, 2, 3], 8, SAMPLED, seed=7)
        await asked(batcher, [1, 2, 3], 8, SAMPLED)
    assert torch.equal(torch.get_rng_state(), state)


@on_farm_loop
async def test_processors_are_those_of_one_request() -> None:
    class Only(hf.LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            return torch.full_like(scores, -torch.inf).index_fill_(1, torch.tensor([42]), 0.0)

    module = make()
    async with batching(module) as batcher:
        forced, free = await asyncio.gather(
            asked(batcher, [5, 6], 6, processors=[Only()]), asked(batcher, [5, 6], 6)
        )
    assert forced[0] == [42] * 6
    assert free[0] == alone(module, [5, 6], 6)


@on_farm_loop
async def test_what_a_checkpoint_says_of_sampling_counts() -> None:
    module = make()
    prompt = prompts(1)[0]
    module.generation_config.repetition_penalty = 5.0
    expected = alone(module, prompt, 16)
    async with batching(module) as batcher:
        assert (await asked(batcher, prompt, 16))[0] == expected
    module.generation_config.repetition_penalty = 1.0
    assert alone(module, prompt, 16) != expected


@on_farm_loop
async def test_who_leaves_does_not_disturb_the_others_and_is_let_go_at_once() -> None:
    module = make()
    trap = Trap(module, -1, ValueError())
    questions = prompts(3)
    async with batching(module) as batcher:
        others = [asyncio.create_task(asked(batcher, prompt, 40)) for prompt in questions[:2]]
        async with aclosing(batcher.answer(questions[2], GREEDY, max_tokens=10_000)) as leaving:
            for _ in range(5):
                await anext(leaving)
        assert [ids for ids, _ in await asyncio.gather(*others)] == [
            alone(module, prompt, 40) for prompt in questions[:2]
        ]
        assert await has_no_thread()
    assert trap.calls < 10_000


@on_farm_loop
async def test_who_waits_is_served_in_the_order_of_coming() -> None:
    module = make()
    order: list[int] = []

    async def ask(number: int, max_tokens: int) -> None:
        async for _ in batcher.answer([number + 1] * 5, GREEDY, max_tokens=max_tokens):
            if number not in order:
                order.append(number)

    async with batching(module, max_rows=2) as batcher:
        await asyncio.gather(*(ask(number, 4 + 3 * (number % 2)) for number in range(8)))
    assert order == list(range(8))


@on_farm_loop
async def test_a_long_prompt_is_read_in_pieces_and_the_others_go_on_meanwhile() -> None:
    module = make()
    long = [1 + number % 100 for number in range(READ_TOKENS * 5 + 3)]
    expected = [alone(module, long, 5), alone(module, [1, 2, 3], 60)]
    read: list[PromptProgress] = []
    widths: list[int] = []  # in tokens, of all that the module was given
    module.get_input_embeddings().register_forward_pre_hook(
        lambda _, inputs: widths.append(inputs[0].shape[1])
    )
    async with batching(module) as batcher, endless(batcher, [1, 2, 3]) as short:
        answer: list[int] = []
        async for step in batcher.answer(long, GREEDY, max_tokens=5):
            if isinstance(step, PromptProgress):
                read.append(step)
            else:
                answer += step.ids
        ids = await short.more()
    assert answer == expected[0]
    assert ids[:60] == expected[1][: len(ids)]
    assert read == [PromptProgress(READ_TOKENS * piece, len(long)) for piece in range(1, 6)]
    pieces = [place for place, width in enumerate(widths) if width == READ_TOKENS]
    assert len(pieces) == 5
    for before, after in itertools.pairwise(pieces):
        assert widths[before + 1 : after] == [1]


@on_farm_loop
async def test_a_prompt_that_cannot_be_read_fails_alone() -> None:
    module = make()
    expected = alone(module, [1, 2, 3], 30)
    bad = VOCABULARY  # no answer has it
    Trap(module, bad, RuntimeError("a broken layer"))
    async with batching(module) as batcher, endless(batcher, [1, 2, 3]) as other:
        with pytest.raises(ProviderError, match="tiny failed: RuntimeError: a broken layer") as caught:
            await asked(batcher, [1, bad], 30)
        ids = await other.more()
    assert ids[:30] == expected[: len(ids)]
    assert isinstance(caught.value.__cause__, RuntimeError)


@on_farm_loop
async def test_a_step_that_fails_fails_those_in_it_and_the_next_requests_are_answered() -> None:
    module = make()
    prompt = prompts(1)[0]
    token = next(token for token in alone(module, prompt, 9)[3:] if token not in prompt)
    Trap(module, token, RuntimeError("a broken step"))
    waiting = [2, 2, 3]
    async with batching(module, max_rows=2) as batcher:
        outcomes = await asyncio.gather(
            asked(batcher, prompt, 20),
            asked(batcher, prompt, 20),
            asked(batcher, waiting, 1),
            return_exceptions=True,
        )
    failures = outcomes[:2]
    assert [str(failure) for failure in failures] == ["tiny failed: RuntimeError: a broken step"] * 2
    assert all(type(failure) is ProviderError for failure in failures)
    assert failures[0] is not failures[1]
    assert outcomes[2] == (alone(module, waiting, 1), "length")


@on_farm_loop
async def test_a_processor_that_fails_fails_its_request_only() -> None:
    class Broken(hf.LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            if input_ids.shape[1] > 4:
                raise ValueError("no such grammar")
            return scores

    module = make()
    async with batching(module) as batcher:
        failure, answer = await asyncio.gather(
            asked(batcher, [5, 6], 12, processors=[Broken()]),
            asked(batcher, [7, 8], 12),
            return_exceptions=True,
        )
    assert isinstance(failure, ProviderError)
    assert "no such grammar" in str(failure)
    assert answer == (alone(module, [7, 8], 12), "length")


@on_farm_loop
async def test_a_device_without_memory_is_told_as_such_and_nothing_of_the_step_is_kept() -> None:
    module = make()
    Trap(module, 99, torch.OutOfMemoryError("CUDA out of memory"))
    async with batching(module) as batcher:
        with pytest.raises(OutOfMemoryError) as caught:
            await asked(batcher, [5, 99], 3)
    assert caught.value.__cause__ is not None
    frame = caught.value.__cause__.__traceback__
    while frame is not None:
        kept = frame.tb_frame.f_locals.values()
        assert not any(isinstance(value, torch.Tensor) for value in kept)
        frame = frame.tb_next


@on_farm_loop
async def test_closing_fails_what_is_being_answered_and_refuses_the_rest() -> None:
    module = make()
    batcher = Batcher(module, name="tiny", max_rows=1)
    begun = asyncio.Event()
    running = asyncio.create_task(asked(batcher, [5], 10_000, begun=begun))
    waiting = asyncio.create_task(asked(batcher, [6], 10_000))
    await begun.wait()
    await batcher.aclose()
    failures = await asyncio.gather(running, waiting, return_exceptions=True)
    assert [type(failure) for failure in failures] == [ModelUnloadedError] * 2
    assert {str(failure) for failure in failures} == {"tiny was unloaded before its answer was whole."}
    assert failures[0] is not failures[1]
    with pytest.raises(ProviderError, match="unloaded"):
        await asked(batcher, [5], 1)
    await batcher.aclose()
    assert await has_no_thread()


@on_farm_loop
async def test_there_is_no_thread_while_there_is_nothing_to_answer() -> None:
    async with batching(make()) as batcher:
        for _ in range(3):
            assert len((await asked(batcher, [5], 3))[0]) == 3
            assert await has_no_thread()
            assert not batcher.is_working


@pytest.mark.parametrize("kind", CONFIGS)
def test_decoders_that_keep_keys_and_values_can_be_batched(kind: str) -> None:
    assert can_batch(make(kind))


@pytest.mark.parametrize(
    "config",
    [
        hf.T5Config(vocab_size=64, d_model=16, d_ff=16, num_layers=1, num_heads=2, d_kv=8),
        hf.MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1),
        hf.BertConfig(
            vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        ),
    ],
    ids=["two parts", "a state of its own", "no decoder"],
)
def test_other_models_cannot(config: Any) -> None:
    kind = {"t5": hf.AutoModelForSeq2SeqLM, "mamba": hf.AutoModelForCausalLM, "bert": hf.AutoModel}
    assert not can_batch(kind[config.model_type].from_config(config))
