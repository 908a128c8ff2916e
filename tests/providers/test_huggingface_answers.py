"""What a model in this process answers, on both engines: as ``generate`` does, and to the user's words."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

import torch
from checkpoints import COUNT, THINK, TICK, WEATHER_CALL, one_thread
from contract import WEATHER, drain, on_farm_loop

from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.errors import (
    ContextLengthError,
    InvalidRequestError,
    ProviderError,
    UnsupportedParameterError,
)
from farm_notebook.providers.huggingface.provider import HuggingFaceProvider
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Finished,
    LoadProgress,
    ModelRef,
    ReasoningDelta,
    TextDelta,
    Tool,
    ToolCall,
)

WHEN = "What is the weather in Paris?"
GUARD_S = 30.0  # against hanging; nothing here takes as long, on a busy machine either


@asynccontextmanager
async def provided(**settings: Any) -> AsyncIterator[HuggingFaceProvider]:
    provider = HuggingFaceProvider(load_config({"offline": True, "huggingface": settings}))
    try:
        yield provider
    finally:
        await provider.aclose()


@pytest.fixture(scope="module", params=[False, True], ids=["one-at-a-time", "batched"])
def provider(request: pytest.FixtureRequest, tiny_model: Path) -> Iterator[HuggingFaceProvider]:
    """One on each engine, its model loaded."""
    config = load_config({"offline": True, "huggingface": {"batching": request.param, "max_tokens": 60_000}})
    provider = HuggingFaceProvider(config)
    loop.run_blocking(drain(provider.load_model(str(tiny_model))))
    with one_thread():
        yield provider
    loop.run_blocking(provider.aclose())


def asked(model: Path, prompt: str, **options: Any) -> ChatRequest:
    options = {"temperature": 0.0} | options
    return ChatRequest(ModelRef("huggingface", str(model)), (ChatMessage("user", prompt),), **options)


def generated(model: Any, prompt: str, **options: Any) -> str:
    """The answer of transformers itself."""
    turns = [{"role": "user", "content": prompt}]
    inputs = model.tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = model.module.generate(**inputs, **options)
    return str(model.tokenizer.decode(output[0][inputs["input_ids"].shape[1] :], skip_special_tokens=True))


def words(answer: str) -> list[str]:
    """All that is thought or said in it: off its usual ways the model may take up either."""
    return answer.replace("<think>", " ").replace("</think>", " ").split()


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"repetition_penalty": 1.8},
        {"no_repeat_ngram_size": 1},
        {"suppress_tokens": [300, 301, 302]},
    ],
    ids=str,
)
@on_farm_loop
async def test_a_greedy_answer_is_that_of_generate(
    provider: HuggingFaceProvider, tiny_model: Path, extra: dict[str, Any]
) -> None:
    reply = await provider.chat(asked(tiny_model, TICK, max_tokens=40, extra=extra))
    async with provider.lease(str(tiny_model)) as model:
        expected = generated(model, TICK, max_new_tokens=40, do_sample=False, **extra)
    assert words(f"{reply.reasoning} {reply.text}") == words(expected)
    assert reply.usage.output_tokens == 40


@on_farm_loop
async def test_sampling_leaves_the_users_random_numbers_alone(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    torch.manual_seed(5)
    undisturbed = torch.rand(4)
    torch.manual_seed(5)
    await provider.chat(asked(tiny_model, COUNT, temperature=1.0, seed=1))
    await provider.chat(asked(tiny_model, COUNT, temperature=1.0))
    assert torch.rand(4).tolist() == undisturbed.tolist()


@on_farm_loop
async def test_a_seed_repeats_the_answer_whatever_else_is_asked_meanwhile(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    request = asked(tiny_model, COUNT, temperature=2.0, seed=7, max_tokens=30)
    alone = (await provider.chat(request)).text
    others = [replace(request, seed=seed) for seed in (1, 2)]
    together = await asyncio.gather(*(provider.chat(each) for each in (others[0], request, others[1])))
    assert [reply.text == alone for reply in together] == [False, True, False]


@on_farm_loop
async def test_a_narrow_top_p_takes_the_likeliest_token_only(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    greedy = await provider.chat(asked(tiny_model, COUNT))
    narrow = await provider.chat(asked(tiny_model, COUNT, temperature=5.0, top_p=1e-6, seed=3))
    one = await provider.chat(asked(tiny_model, COUNT, temperature=5.0, seed=3, extra={"top_k": 1}))
    wide = await provider.chat(asked(tiny_model, COUNT, temperature=5.0, seed=3, max_tokens=30))
    assert narrow.text == one.text == greedy.text != wide.text


@on_farm_loop
async def test_what_is_not_said_is_the_checkpoints(tiny_model: Path) -> None:
    async with provided(batching=False) as provider, provider.lease(str(tiny_model)) as model:
        request = asked(tiny_model, COUNT, temperature=None)
        greedy = (await provider.chat(request)).text
        model.module.generation_config.update(do_sample=True, temperature=5.0)
        sampled = {(await provider.chat(replace(request, seed=seed, max_tokens=20))).text for seed in (1, 2)}
        assert greedy not in sampled
        assert len(sampled) == 2
        model.module.generation_config.update(no_repeat_ngram_size=2)
        text = (await provider.chat(asked(tiny_model, TICK, max_tokens=20))).text
        assert "tick tock tick tock tick" not in text


@on_farm_loop
async def test_reasoning_is_told_apart_and_can_be_switched_off(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    for reasoning in (None, "on"):
        reply = await provider.chat(asked(tiny_model, THINK, reasoning=reasoning))
        assert (reply.reasoning.strip(), reply.text) == ("Let me see.", "Yes, 日本語 😀.")
    reply = await provider.chat(asked(tiny_model, THINK, reasoning="off"))
    assert (reply.reasoning, reply.text) == ("", "Yes.")


@on_farm_loop
async def test_a_tool_call_is_an_event_and_the_reason_to_end(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    request = asked(tiny_model, WHEN, tools=(WEATHER,), tool_choice="auto")
    events = [event async for event in provider.stream(request)]
    (call,) = [event for event in events if isinstance(event, ToolCall)]
    assert (call.name, call.parsed) == ("get_weather", {"city": "Paris"})
    assert not [event for event in events if isinstance(event, TextDelta)]
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "tool_calls"
    turns = (
        *request.messages,
        ChatMessage("assistant", "", tool_calls=(call,)),
        ChatMessage("tool", "22 degrees", tool_call_id=call.id),
    )
    assert (await provider.chat(replace(request, messages=turns, max_tokens=5))).usage.input_tokens


@on_farm_loop
async def test_tools_that_must_not_be_called_are_not_told_to_the_model(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    bare = await provider.chat(asked(tiny_model, WHEN, max_tokens=1))
    request = asked(tiny_model, WHEN, tools=(WEATHER,), tool_choice="none", max_tokens=1)
    assert (await provider.chat(request)).usage.input_tokens == bare.usage.input_tokens
    told = await provider.chat(replace(request, tool_choice="auto"))
    assert (told.usage.input_tokens or 0) > (bare.usage.input_tokens or 0)


@pytest.mark.parametrize("temperature", [0.0, 3.0])
@on_farm_loop
async def test_an_answer_is_kept_to_its_schema(
    provider: HuggingFaceProvider, tiny_model: Path, temperature: float
) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Rome", "Oslo"]}, "big": {"type": "boolean"}},
        "required": ["city", "big"],
        "additionalProperties": False,
    }
    request = asked(tiny_model, COUNT, temperature=temperature, seed=1, schema=schema, max_tokens=100)
    replies = await asyncio.gather(*(provider.chat(replace(request, seed=seed)) for seed in range(3)))
    for reply in replies:
        assert reply.finish_reason == "stop"
        assert reply.parsed["city"] in ("Rome", "Oslo")
        assert isinstance(reply.parsed["big"], bool)


@pytest.mark.parametrize("choice", ["required", "get_time"])
@on_farm_loop
async def test_a_tool_that_must_be_called_is_called_whatever_was_asked(
    provider: HuggingFaceProvider, tiny_model: Path, choice: str
) -> None:
    zones = {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}, "required": ["zone"]}
    clock = Tool("get_time", "The time.", zones | {"additionalProperties": False})
    tools = (clock,) if choice == "required" else (WEATHER, clock)
    reply = await provider.chat(asked(tiny_model, COUNT, tools=tools, tool_choice=choice, max_tokens=200))
    assert [(call.name, call.parsed["zone"] in ("UTC", "CET")) for call in reply.tool_calls] == [
        ("get_time", True)
    ]
    assert (reply.text, reply.finish_reason) == ("", "tool_calls")


@on_farm_loop
async def test_a_schema_that_is_none_is_quoted(provider: HuggingFaceProvider, tiny_model: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"kept to the schema .*'nonsense'"):
        await provider.chat(asked(tiny_model, COUNT, schema={"type": "nonsense"}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extra": {"num_beams": 4}}, "cannot honour num_beams.*repetition_penalty"),
        ({"extra": {"repetition_penalty": "much"}}, "'much'"),
    ],
)
@on_farm_loop
async def test_what_cannot_be_honoured_is_refused_with_what_can(
    provider: HuggingFaceProvider, tiny_model: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedParameterError, match=message):
        await provider.chat(asked(tiny_model, COUNT, **options))


@on_farm_loop
async def test_a_template_that_knows_no_tools_or_reasoning_says_so(tiny_model: Path) -> None:
    async with provided() as provider, provider.lease(str(tiny_model)) as model:
        model.tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
        with pytest.raises(UnsupportedParameterError, match="tools: its chat template knows none"):
            await provider.chat(asked(tiny_model, WHEN, tools=(WEATHER,)))
        model.tokenizer.chat_template += "{# tools #}"
        with pytest.raises(UnsupportedParameterError, match=r"tool_choice='required': .*valid: auto, none"):
            await provider.chat(asked(tiny_model, WHEN, tools=(WEATHER,), tool_choice="required"))
        with pytest.raises(UnsupportedParameterError, match="reasoning='on': its chat template"):
            await provider.chat(asked(tiny_model, THINK, reasoning="on"))
        model.tokenizer.chat_template = None
        with pytest.raises(InvalidRequestError, match=r"no chat template.*generate\(\.\.\.\)"):
            await provider.chat(asked(tiny_model, THINK))
        assert "two three" in (await provider.generate(asked(tiny_model, COUNT))).text


@on_farm_loop
async def test_what_a_template_refuses_is_told_in_its_words(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    odd: Any = ChatMessage("prophet", "Hear!")  # type: ignore[arg-type]  # which is the point
    with pytest.raises(InvalidRequestError, match="refuses this conversation: no such role"):
        await provider.chat(replace(asked(tiny_model, COUNT), messages=(odd,)))


@on_farm_loop
async def test_a_prompt_that_does_not_fit_is_counted(provider: HuggingFaceProvider, tiny_model: Path) -> None:
    with pytest.raises(ContextLengthError, match="65,536") as caught:
        await provider.chat(asked(tiny_model, "tick tock " * 40_000))
    assert caught.value.limit == 65_536
    assert (caught.value.tokens or 0) > 65_536


@on_farm_loop
async def test_an_answer_ends_where_the_context_does(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "narrow"))
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"max_position_embeddings": 64}))
    async with provided() as provider:
        reply = await provider.chat(asked(folder, TICK))
        assert reply.finish_reason == "length"
        assert (reply.usage.input_tokens or 0) + (reply.usage.output_tokens or 0) == 64


@on_farm_loop
async def test_a_closed_stream_lets_the_next_begin_within_a_step(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    for _ in range(3):
        endless = provider.stream(asked(tiny_model, TICK))
        async with aclosing(endless):
            while not isinstance(await anext(endless), TextDelta):
                pass
        async with asyncio.timeout(GUARD_S):
            assert "two three" in (await provider.chat(asked(tiny_model, COUNT))).text


@on_farm_loop
async def test_a_request_that_waits_its_turn_can_leave(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    endless = provider.stream(asked(tiny_model, TICK))
    async with aclosing(endless):
        while not isinstance(await anext(endless), TextDelta):
            pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await provider.chat(asked(tiny_model, TICK))
    async with asyncio.timeout(GUARD_S):
        assert "two three" in (await provider.chat(asked(tiny_model, COUNT))).text


@on_farm_loop
async def test_an_error_in_the_model_is_told_and_the_next_request_is_answered(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    async with provider.lease(str(tiny_model)) as model:

        def fail(*_: object) -> None:
            raise ValueError("a wire came loose")

        hook = model.module.register_forward_pre_hook(fail)
        with pytest.raises(ProviderError, match="ValueError: a wire came loose"):
            await provider.chat(asked(tiny_model, COUNT))
        hook.remove()
    assert "two three" in (await provider.chat(asked(tiny_model, COUNT))).text


@on_farm_loop
async def test_no_memory_left_for_an_answer_is_an_error_of_its_own(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    async with provider.lease(str(tiny_model)) as model:

        def fail(*_: object) -> None:
            torch.empty(1 << 60)

        hook = model.module.register_forward_pre_hook(fail)
        with pytest.raises(MemoryError, match="no memory was left for this answer"):
            await provider.chat(asked(tiny_model, COUNT))
        hook.remove()


@on_farm_loop
async def test_logprobs_are_the_models_own_whatever_is_drawn_from_them(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    hot = await provider.chat(
        asked(tiny_model, COUNT, temperature=3.0, top_p=0.9, seed=2, max_tokens=4, logprobs=3)
    )
    async with provider.lease(str(tiny_model)) as model:
        turns = [{"role": "user", "content": COUNT}]
        text = model.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        before = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        for each in hot.logprobs:
            with torch.inference_mode():
                own = model.module(torch.tensor([before])).logits[0, -1].float().log_softmax(-1)
            likeliest = own.topk(3)
            assert [logprob for _, logprob in each.top_logprobs] == pytest.approx(
                likeliest.values.tolist(), abs=1e-3
            )
            (token,) = (id_ for id_ in range(len(own)) if model.tokenizer.decode([id_]) == each.token)
            assert each.logprob == pytest.approx(own[token].item(), abs=1e-3)
            before.append(token)
    assert len(hot.logprobs) == 4


@on_farm_loop
async def test_nothing_is_written_into_the_users_cell(
    tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    for batching in (False, True):
        async with provided(batching=batching) as provider:
            for options in ({}, {"temperature": 1.0, "top_p": 0.5}, {"extra": {"min_p": 0.1}}):
                await provider.chat(asked(tiny_model, COUNT, max_tokens=5, **options))
    assert capfd.readouterr() == ("", "")


@on_farm_loop
async def test_the_loop_is_free_while_an_answer_is_written(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    """The work is done in another thread: were it done here, nothing would run between two events."""
    async with aclosing(provider.stream(asked(tiny_model, TICK))) as endless:
        while not isinstance(await anext(endless), TextDelta):
            pass
        assert "farm-huggingface" in [thread.name for thread in threading.enumerate()]


@on_farm_loop
async def test_a_call_as_the_tiny_model_writes_it_is_what_its_events_say(
    provider: HuggingFaceProvider, tiny_model: Path
) -> None:
    async with provider.lease(str(tiny_model)) as model:
        prompt = model.tokenizer.apply_chat_template(
            [{"role": "user", "content": WHEN}],
            tools=[{"type": "function", "function": {"name": WEATHER.name}}],
            add_generation_prompt=True,
            tokenize=False,
        )
    reply = await provider.generate(asked(tiny_model, str(prompt)))
    assert reply.text == WEATHER_CALL
    assert not reply.tool_calls


@pytest.mark.model
@pytest.mark.slow
@on_farm_loop
async def test_a_gguf_file_answers(embedded_file: Path) -> None:
    size = embedded_file.stat().st_size  # noqa: ASYNC240 - a moment's work
    with one_thread():
        async with provided() as provider:
            reports = [progress async for progress in provider.load_model(str(embedded_file))]
            assert reports[-1] == LoadProgress("load", size, size)
            request = asked(embedded_file, "What is the capital of Egypt?", max_tokens=12)
            events = [event async for event in provider.stream(request)]
            assert not [event for event in events if isinstance(event, ReasoningDelta)]
            assert "Cairo" in "".join(event.text for event in events if isinstance(event, TextDelta))
            assert await provider.digest(str(embedded_file))


LEAVING = """
import sys
from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.providers.huggingface.provider import HuggingFaceProvider
from farm_notebook.types import ChatMessage, ChatRequest, ModelRef, TextDelta

settings = {"offline": True, "huggingface": {"batching": sys.argv[2] == "True", "max_tokens": 60_000}}
provider = HuggingFaceProvider(load_config(settings))
request = ChatRequest(ModelRef("huggingface", sys.argv[1]), (ChatMessage("user", "Tick."),), temperature=0.0)
events = provider.stream(request)

async def begin():
    while not isinstance(await anext(events), TextDelta):
        pass

loop.run_blocking(begin())
print("begun")
"""


@pytest.mark.slow
@pytest.mark.parametrize("batching", [False, True])
def test_a_kernel_that_ends_in_the_middle_of_an_answer_ends_well(tiny_model: Path, batching: bool) -> None:
    program = [sys.executable, "-c", LEAVING, str(tiny_model), str(batching)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "begun\n", "")
