"""Models in this process: tokens a second of one stream beside raw ``module.generate``, and of 16 at once
beside one of them and beside transformers' own continuous batching.

Everybody answers greedily, with the same number of tokens. On a processor torch has one thread, so that the
figures do not depend on the cores; the goal for 16 at once is one for a GPU.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from benchmarks.measure import Settings, interleaved, spread
from benchmarks.model_files import small_model
from benchmarks.report import Row, Table, at_least, at_most
from farm_notebook import AsyncFarm, loop
from farm_notebook.providers.huggingface.batching import Batcher, Tokens
from farm_notebook.providers.huggingface.engine import SingleStream
from farm_notebook.types import Finished

ROUNDS = 5
MANY = 16
TOKENS = {"tiny": 128, "real": 32}
PROMPT = "Write a very long story about a river, a house and a dog."
PROMPT_TOKENS = 40
GOAL_RATE = 0.98
GOAL_CALL = 1.10
GOAL_MANY = 4.0
Ways: TypeAlias = dict[str, Callable[[int], int]]  # to have an answer of so many tokens; how many came
TINY: dict[str, Any] = {
    "vocab_size": 1024,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds for a token: by the clock, and of this process's processor time."""

    wall_s: float
    used_s: float


def run(settings: Settings) -> Table:
    """The tiny model and the real one in turn."""
    if find_spec("transformers") is None:
        return Table("huggingface", "Tokens a second.", (), ('pip install "farm-notebook[huggingface]"',))
    rounds, (path, what) = settings.rounds or ROUNDS, small_model()
    title = (
        f"Tokens a second. 'tiny' is a Llama of 2 layers of random weights, 'real' {what} in float32. "
        f"Answers of {TOKENS['tiny']} and {TOKENS['real']} tokens to prompts of about {PROMPT_TOKENS}. "
        "Medians (least to greatest)."
    )
    with _one_thread() as notes, asyncio.Runner() as runner:
        rows = [*_tiny_rows(rounds), *_real_rows(runner, path, rounds)]
    return Table("huggingface", title, tuple(rows), notes)


@contextmanager
def _one_thread() -> Iterator[tuple[str, ...]]:
    """What the benchmark runs on; transformers' own remarks are not shown."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{device.type}, one thread"
    try:
        yield (f"torch {torch.__version__.partition('+')[0]} on {name}.",)
    finally:
        logging.disable(logging.NOTSET)
        torch.set_num_threads(threads)


def _tiny_rows(rounds: int) -> list[Row]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    module = LlamaForCausalLM(LlamaConfig(**TINY)).eval().requires_grad_(False)
    module = module.to(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    return _rows("tiny", module, _prompts(module), rounds, {})


def _real_rows(runner: asyncio.Runner, path: Path, rounds: int) -> list[Row]:
    farm = AsyncFarm(cache={"enabled": False}, huggingface={"dtype": "float32"})
    model = f"huggingface:{path}"

    async def answered(tokens: int) -> int:
        finished = None
        async for event in farm.events(farm.request(PROMPT, model=model, temperature=0, max_tokens=tokens)):
            finished = event
        return finished.usage.output_tokens or 0 if isinstance(finished, Finished) else 0

    async def measured() -> list[Row]:
        async with farm.lease(model) as leased:
            turns = [{"role": "user", "content": PROMPT}]
            same = leased.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
            prompts = [same, *_prompts(leased.module)[1:]]
            calls = {"`AsyncFarm.events`": lambda tokens: loop.run_blocking(answered(tokens))}
            return await asyncio.to_thread(_rows, "real", leased.module, prompts, rounds, calls)

    rows = runner.run(measured())
    runner.run(farm.aclose())
    return rows


def _rows(name: str, module: Any, prompts: list[list[int]], rounds: int, calls: Ways) -> list[Row]:
    """The rows of one model.

    Args:
        name: In the table, and of its number of tokens.
        module: What all of them use.
        prompts: Of those at once; the first is that of one stream.
        rounds: How often everything is measured.
        calls: Further ways to have one answer of so many tokens, by name.
    """
    tokens = TOKENS[name]
    batcher, single = Batcher(module, name=name, max_rows=MANY), SingleStream(module, name=name)
    ones: Ways = {
        "raw": lambda count: _generated(module, prompts[0], count),
        "batching on": lambda count: _answered(batcher, prompts[:1], count),
        "batching off": lambda count: _answered(single, prompts[:1], count),
        **calls,
    }
    taken = interleaved(
        rounds,
        {
            **{f"one: {label}": _paced(one, tokens, tokens) for label, one in ones.items()},
            **{
                f"call: {label}": _paced(one, 1, 1) for label, one in ones.items() if label in ("raw", *calls)
            },
            "many": _paced(lambda count: _answered(batcher, prompts, count), tokens, tokens * MANY),
            "many, transformers": lambda: _continuous(module, prompts, tokens),
        },
    )
    loop.run_blocking(_closed(batcher, single))
    return [*_one_rows(name, taken), *_call_rows(name, taken, calls), *_many_rows(name, module, taken)]


def _one_rows(name: str, taken: dict[str, list[Pace]]) -> list[Row]:
    raw = _wall(taken["one: raw"])
    rows: list[Row] = []
    for key, paces in taken.items():
        if not key.startswith("one: ") or key == "one: raw":
            continue
        rates = [1 / pace.wall_s for pace in paces]
        rows.append(
            at_least(
                f"{name}, one stream: {key.removeprefix('one: ')}",
                spread(rates, "/s", 1),
                f"`module.generate`: {1 / raw:,.1f}/s",
                raw * median(rates),
                GOAL_RATE,
            )
        )
        used, raw_used = (_used(taken[which]) for which in (key, "one: raw"))
        rows.append(
            Row(
                "· processor time of a token",
                f"{used * 1e3:,.2f} ms",
                f"`module.generate`: {raw_used * 1e3:,.2f} ms",
                used / raw_used,
            )
        )
    return rows


def _call_rows(name: str, taken: dict[str, list[Pace]], calls: Ways) -> list[Row]:
    raw = _wall(taken["call: raw"])
    return [
        at_most(
            f"{name}, a call of one token: {label}",
            spread([pace.wall_s * 1e3 for pace in taken[f"call: {label}"]], "ms", 1),
            f"`module.generate`: {raw * 1e3:,.1f} ms",
            _wall(taken[f"call: {label}"]) / raw,
            GOAL_CALL,
        )
        for label in calls
    ]


def _many_rows(name: str, module: Any, taken: dict[str, list[Pace]]) -> list[Row]:
    one, peer = _wall(taken["one: batching on"]), _wall(taken["many, transformers"])
    rates = [1 / pace.wall_s for pace in taken["many"]]
    ratio = one * median(rates)
    return [
        Row(
            f"{name}, {MANY} at once: batching on",
            spread(rates, "/s", 1),
            f"one of them: {1 / one:,.1f}/s",
            ratio,
            f"≥ {GOAL_MANY:g} times on a GPU",
            ratio >= GOAL_MANY if module.device.type != "cpu" else None,
        ),
        Row(
            "· beside transformers' continuous batching",
            spread(rates, "/s", 1),
            f"{1 / peer:,.1f}/s",
            peer * median(rates),
        ),
    ]


def _wall(paces: list[Pace]) -> float:
    return median([pace.wall_s for pace in paces])


def _used(paces: list[Pace]) -> float:
    return median([pace.used_s for pace in paces])


def _prompts(module: Any) -> list[list[int]]:
    """Prompts of different lengths, their tokens chosen at random; the same each time."""
    import random

    dice = random.Random(0)
    lengths = [PROMPT_TOKENS + number % 9 - 4 for number in range(MANY)]
    return [[dice.randrange(3, module.config.vocab_size) for _ in range(length)] for length in lengths]


def _greedy(tokens: int) -> Any:
    from transformers import GenerationConfig

    return GenerationConfig(do_sample=False, max_new_tokens=tokens, eos_token_id=-1, pad_token_id=0)


def _generated(module: Any, prompt: list[int], tokens: int) -> int:
    import torch

    ids = torch.tensor([prompt], device=module.device)
    with torch.inference_mode():
        answer = module.generate(ids, attention_mask=torch.ones_like(ids), generation_config=_greedy(tokens))
    return int(answer.shape[1]) - len(prompt)


def _answered(engine: Batcher | SingleStream, prompts: list[list[int]], tokens: int) -> int:
    async def one(prompt: list[int]) -> int:
        count = 0
        async for step in engine.answer(prompt, _greedy(tokens), max_tokens=tokens):
            count += len(step.ids) if isinstance(step, Tokens) else 0
        return count

    async def all_of_them() -> int:
        return sum(await asyncio.gather(*(one(prompt) for prompt in prompts)))

    return loop.run_blocking(all_of_them())


def _continuous(module: Any, prompts: list[list[int]], tokens: int) -> Pace:
    """One token's time of transformers' own engine, from the first request to the last answer."""
    from transformers import ContinuousBatchingConfig

    config = ContinuousBatchingConfig(num_blocks=2 * MANY, max_batch_tokens=1024)
    manager = module.init_continuous_batching(
        generation_config=_greedy(tokens), continuous_batching_config=config
    )
    manager.start()
    try:
        manager.add_request(prompts[0], max_new_tokens=1)
        manager.get_result(timeout=60)  # it is ready
        begun, used, in_all = time.perf_counter(), time.process_time(), tokens * len(prompts)
        for prompt in prompts:
            manager.add_request(prompt, max_new_tokens=tokens, streaming=True)
        finished = 0
        while finished < len(prompts):
            result = manager.get_result(timeout=60)
            if result is None or result.error:
                raise RuntimeError(f"transformers' continuous batching failed: {result and result.error}")
            finished += result.is_finished()
        return Pace((time.perf_counter() - begun) / in_all, (time.process_time() - used) / in_all)
    finally:
        manager.stop(block=True)


def _paced(work: Callable[[int], int], tokens: int, in_all: int) -> Callable[[], Pace]:
    """A measure of one token's time."""

    def measure() -> Pace:
        begun, used = time.perf_counter(), time.process_time()
        if (count := work(tokens)) != in_all:
            raise RuntimeError(f"{count} tokens came, not {in_all}.")
        return Pace((time.perf_counter() - begun) / in_all, (time.process_time() - used) / in_all)

    return measure


async def _closed(*engines: Batcher | SingleStream) -> None:
    for engine in engines:
        await engine.aclose()
