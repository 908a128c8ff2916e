"""The embedded provider: real answers from a real child, which may be killed, stopped or left at any time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import farside
import httpx2
import psutil
import pytest
import pytest_asyncio
from pydantic import BaseModel

from farm_notebook import loop
from farm_notebook.errors import (
    BackendCrashedError,
    ContextLengthError,
    FarmError,
    LoadError,
    ModelNotFoundError,
    ProviderError,
    ProviderTimeoutError,
)
from farm_notebook.farm import AsyncFarm, Farm
from farm_notebook.providers.llamacpp.files import ModelFiles
from farm_notebook.providers.llamacpp.provider import LlamaCppProvider
from farm_notebook.providers.llamacpp.server import LlamaServer, ServerSpec
from farm_notebook.reply import Reply
from farm_notebook.types import ChatRequest, Event, PromptProgress, TextDelta
from farm_notebook.weights.catalog import CATALOG

pytestmark = [pytest.mark.model, pytest.mark.usefixtures("no_leaks")]

CONTEXT_TOKENS = 2048  # another than the default, so that no other test's farm shares the child
STORY = "Write a very long story."
LONG_PROMPT = "Sum up what follows. " + "The wind went over the hill and the rain came after it. " * 130
CANCEL_LIMIT_S = 4.0  # 0.2 s is asked for; the rest is for a busy machine
PARENT_GONE_LIMIT_S = 5.0


@pytest_asyncio.fixture
async def farm(embedded_model: str, no_leaks: None) -> AsyncIterator[AsyncFarm]:
    """A farm with a child of its own, which starts at the first call."""
    farm = AsyncFarm(model=embedded_model, llamacpp={"context_tokens": CONTEXT_TOKENS})
    yield farm
    await farm.aclose()


@pytest.fixture
def impatient(embedded_model: str) -> dict[str, Any]:
    """The settings of a farm that waits two seconds for an event: long enough for a busy machine."""
    return {
        "model": embedded_model,
        "llamacpp": {"context_tokens": CONTEXT_TOKENS},
        "timeouts": {"first_event_s": 2.0, "idle_s": 2.0},
    }


def server_of(farm: AsyncFarm) -> LlamaServer:
    """The one child of a farm."""
    provider = farm._pool.providers.get("llamacpp")
    assert isinstance(provider, LlamaCppProvider)
    (version,) = provider._shelf.versions().values()
    return version.value


def pid_of(farm: AsyncFarm) -> int:
    pid = server_of(farm).pid
    assert pid is not None
    return pid


class Watch:
    """Sees the events on their way to a farm's caller."""

    def __init__(self, farm: AsyncFarm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[Event] = []
        self._handler = farm._whole_handler  # which answers ``chat``
        monkeypatch.setattr(farm, "_whole_handler", self._watched)

    async def _watched(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        async with contextlib.aclosing(self._handler(request)) as events:
            async for event in events:
                self.events.append(event)
                yield event

    async def until(self, kind: type[Event], count: int) -> None:
        """Wait until so many events of a kind have passed."""
        async with asyncio.timeout(30):
            while sum(isinstance(event, kind) for event in self.events) < count:  # noqa: ASYNC110 - another loop's
                await asyncio.sleep(0.005)


async def assert_answers(farm: AsyncFarm, *, model: str | None = None) -> Reply:
    reply = await farm.chat("What is the capital of Japan?", model=model, temperature=0, seed=1)
    assert "Tokyo" in reply.text
    return reply


async def load(farm: AsyncFarm) -> None:
    async for _ in farm.load():
        pass


# Answers


async def test_an_answer_to_a_schema_parses_and_validates(farm: AsyncFarm) -> None:
    class Person(BaseModel):
        name: str
        age: int
        likes: Literal["chess", "tennis"]

    reply = await farm.chat(
        "Ann is 31 years old and likes chess. Describe her.",
        schema=Person,
        temperature=0,
        seed=1,
        max_tokens=200,
    )
    assert reply.finish_reason == "stop"
    assert set(reply.parsed) == {"name", "age", "likes"}
    assert Person.model_validate(reply.parsed).name


async def test_characters_of_many_bytes_arrive_whole(farm: AsyncFarm) -> None:
    text = "日本語 ñ 😀👩‍🚀 𓀀"
    request = farm.request("Repeat: " + text, schema={"const": text}, temperature=0, seed=1, max_tokens=100)
    events = [event async for event in farm.events(request)]
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    assert json.loads("".join(deltas)) == text
    assert not any("\ufffd" in delta for delta in deltas)
    assert any(len(delta.encode()) > len(delta) for delta in deltas)  # sent as they are, not as \u escapes


async def test_a_prompt_of_many_bytes_a_character_is_read_as_it_is_written(farm: AsyncFarm) -> None:
    reply = await farm.generate("🎉 🎉 🎉 🎉 🎉 🎉 🎉 🎉 🎉 🎉", temperature=0, seed=1, max_tokens=16)
    assert "🎉" in reply.text


async def test_a_prompt_too_long_is_told_with_both_counts_and_the_next_call_works(farm: AsyncFarm) -> None:
    with pytest.raises(ContextLengthError, match=str(CONTEXT_TOKENS)) as caught:
        await farm.chat("word " * (CONTEXT_TOKENS + 10))
    assert caught.value.limit == CONTEXT_TOKENS
    assert caught.value.tokens is not None
    assert caught.value.tokens > CONTEXT_TOKENS
    await assert_answers(farm)


async def test_a_text_too_long_to_embed_is_told_with_both_counts(farm: AsyncFarm) -> None:
    with pytest.raises(ContextLengthError) as caught:
        await farm.embed("word " * 3000)
    assert (caught.value.tokens, caught.value.limit) == (3001, 2048)


async def test_more_texts_than_one_request_takes_keep_their_order(farm: AsyncFarm) -> None:
    texts = [f"number {n}" for n in range(70)]
    embeddings = await farm.embed(texts)
    assert len(embeddings.vectors) == len(set(embeddings.vectors)) == len(texts)
    alone = (await farm.embed(texts[50])).vectors[0]
    assert embeddings.vectors[50] == pytest.approx(alone, abs=1e-3)
    assert embeddings.usage.input_tokens is not None
    assert embeddings.usage.input_tokens >= len(texts)


async def test_a_seed_gives_the_same_answer_whatever_was_asked_before(farm: AsyncFarm) -> None:
    async def ask() -> str:
        reply = await farm.chat("Tell me of the sea.", temperature=1.0, seed=42, max_tokens=30)
        return reply.text

    first = await ask()
    await farm.chat("Tell me of the sea, please.", temperature=1.0, max_tokens=10)
    second = await ask()
    await farm.chat(STORY, max_tokens=10)
    await farm.unload()
    assert [await ask(), second] == [first, first]


async def test_only_an_answer_without_a_seed_uses_what_is_remembered_of_the_prompt(farm: AsyncFarm) -> None:
    async def cached_tokens(seed: int | None) -> int | None:
        return (await farm.chat("Tell me of the sea.", seed=seed, max_tokens=2)).usage.cached_tokens

    await cached_tokens(None)
    remembered = await cached_tokens(None)
    assert remembered is not None
    assert remembered > 10
    assert await cached_tokens(7) == 0


# Local files


@pytest.mark.parametrize(
    "how", [shutil.copy, lambda source, target: target.symlink_to(source)], ids=["copy", "link"]
)
async def test_a_local_file_answers_and_has_the_digest_of_its_bytes(
    farm: AsyncFarm, embedded_file: Path, tmp_path: Path, how: Callable[[Path, Path], object]
) -> None:
    path = tmp_path / "my model.gguf"
    how(embedded_file, path)
    reply = await assert_answers(farm, model=f"llamacpp:{path}")
    assert reply.digest == CATALOG["smollm2:135m"].sha256
    assert reply.provenance()["digest"] == reply.digest


@pytest.mark.parametrize("name", ["nowhere", "~nobody-here/x.gguf"])
async def test_a_file_that_is_not_there_is_quoted(farm: AsyncFarm, tmp_path: Path, name: str) -> None:
    path = name if name.startswith("~") else f"{tmp_path / name}.gguf"
    with pytest.raises(ModelNotFoundError) as caught:
        await farm.chat("hello", model=f"llamacpp:{path}")
    assert repr(path) in str(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "random", "random after the magic", "empty"])
async def test_a_damaged_file_is_named_and_leaves_no_child(
    farm: AsyncFarm,
    embedded_file: Path,
    tmp_path: Path,
    damage: str,
    llamacpp_children: Callable[[], set[int]],
) -> None:
    noise = random.Random(1).randbytes(100_000)
    path = tmp_path / "damaged.gguf"
    with embedded_file.open("rb") as whole:
        path.write_bytes(
            {
                "truncated": whole.read(20_000_000),
                "random": noise,
                "random after the magic": b"GGUF" + noise,
                "empty": b"",
            }[damage]
        )
    others = llamacpp_children()
    with pytest.raises(LoadError) as caught:
        await farm.chat("hello", model=f"llamacpp:{path}")
    assert repr(str(path)) in str(caught.value)
    assert llamacpp_children() <= others


async def test_a_loaded_file_that_was_deleted_is_listed_and_can_be_unloaded(
    farm: AsyncFarm, embedded_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "gone.gguf"
    shutil.copy(embedded_file, path)
    async for _ in farm.load(f"llamacpp:{path}"):
        pass
    path.unlink()
    assert str(path) in [info.ref.model for info in await farm.list_models() if info.loaded]
    assert await farm.unload(f"llamacpp:{path}")


# One child, and only for us


async def test_twenty_first_calls_at_once_start_one_child(
    farm: AsyncFarm, llamacpp_children: Callable[[], set[int]]
) -> None:
    others, seen = llamacpp_children(), set[int]()
    chats = asyncio.gather(*(farm.chat(f"Say {n}.", max_tokens=1) for n in range(20)))
    while not chats.done():
        seen |= llamacpp_children() - others
        await asyncio.sleep(0.02)
    assert len(await chats) == 20
    assert seen == {pid_of(farm)}


async def test_the_child_listens_on_loopback_only(farm: AsyncFarm) -> None:
    await load(farm)
    connections = psutil.Process(pid_of(farm)).net_connections(kind="inet")
    listening = [c.laddr for c in connections if c.status == psutil.CONN_LISTEN]
    assert [address.ip for address in listening] == ["127.0.0.1"]
    assert server_of(farm).base_url == f"http://127.0.0.1:{listening[0].port}"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer guess"}], ids=["none", "wrong"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/completion", "/v1/embeddings", "/slots"])
async def test_a_request_without_the_key_is_refused(
    farm: AsyncFarm, headers: dict[str, str], path: str
) -> None:
    await load(farm)
    server = server_of(farm)
    body = {"messages": [{"role": "user", "content": "hello"}], "prompt": "hello", "max_tokens": 1}
    async with httpx2.AsyncClient(trust_env=False, base_url=server.base_url) as client:
        method = "GET" if path == "/slots" else "POST"
        refused = await client.request(method, path, json=body, headers=headers)
        assert refused.status_code == 401
        taken = await client.request("POST", "/v1/chat/completions", json=body, headers=server.headers)
        assert taken.status_code == 200


async def test_the_key_is_neither_an_argument_nor_in_the_environment_of_the_child(farm: AsyncFarm) -> None:
    await load(farm)
    key = key_of(server_of(farm))
    process = psutil.Process(pid_of(farm))
    assert len(key) >= 32
    assert key not in " ".join(process.cmdline())
    assert key not in str(process.environ())


async def test_the_key_is_in_no_error_and_in_no_provenance(
    farm: AsyncFarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    reply = await farm.chat("Say hello.", max_tokens=2)
    server = server_of(farm)
    shown += [json.dumps(reply.provenance()), repr(reply), repr(server), repr(server.spec)]
    shown += [repr(await farm.list_models()), repr(await farm.health())]
    shown.append(await shown_error(farm.chat("word " * 3000)))
    watch = Watch(farm, monkeypatch)
    chat = asyncio.create_task(farm.chat(STORY, temperature=0))
    await watch.until(TextDelta, 1)
    os.kill(pid_of(farm), signal.SIGKILL)
    shown.append(await shown_error(chat))
    assert "BackendCrashedError" in shown[-1]
    assert [text for text in shown if key_of(server) in text] == []


def key_of(server: LlamaServer) -> str:
    return server.headers["Authorization"].removeprefix("Bearer ")


async def shown_error(call: Any) -> str:
    """All that a traceback, its causes and its requests would show of a call's error."""
    with pytest.raises(FarmError) as caught:
        await call
    texts = [repr(caught.value), *traceback.format_exception(caught.value)]
    error: BaseException | None = caught.value
    while error is not None:
        texts.append(repr(vars(error)))
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


# A child that dies, hangs or is left


async def test_a_child_killed_in_mid_answer_is_told_with_the_text_so_far_and_comes_back(
    farm: AsyncFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(farm, monkeypatch)
    chat = asyncio.create_task(farm.chat(STORY, temperature=0, seed=1))
    await watch.until(TextDelta, 5)
    killed, killed_at = pid_of(farm), time.perf_counter()
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(BackendCrashedError, match="SIGKILL") as caught:
        await chat
    print(f"\nknown {time.perf_counter() - killed_at:.3f} s after the kill")
    assert caught.value.partial_text
    assert caught.value.partial_text == "".join(e.text for e in watch.events if isinstance(e, TextDelta))
    await assert_answers(farm)
    assert pid_of(farm) != killed


async def test_a_child_that_died_while_idle_is_not_noticed_by_the_next_caller(farm: AsyncFarm) -> None:
    await load(farm)
    killed = pid_of(farm)
    psutil.Process(killed).kill()
    await until(lambda: not psutil.pid_exists(killed))  # it is waited for
    await asyncio.sleep(0.2)
    await assert_answers(farm)
    assert pid_of(farm) != killed


async def test_a_child_that_hangs_in_mid_answer_runs_out_the_idle_timer(
    impatient: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = AsyncFarm(**impatient)
    watch = Watch(farm, monkeypatch)
    try:
        chat = asyncio.create_task(farm.chat(STORY, temperature=0))
        await watch.until(TextDelta, 5)
        os.kill(pid_of(farm), signal.SIGSTOP)
        with pytest.raises(ProviderTimeoutError, match="idle timer") as caught:
            await chat
        assert caught.value.timer == "idle"
        assert caught.value.partial_text
    finally:
        async with asyncio.timeout(5):
            await farm.aclose()


async def test_a_child_that_hangs_from_the_start_runs_out_the_first_event_timer_and_may_wake_again(
    impatient: dict[str, Any],
) -> None:
    farm = AsyncFarm(**impatient)
    try:
        await load(farm)
        os.kill(pid_of(farm), signal.SIGSTOP)
        with pytest.raises(ProviderTimeoutError) as caught:
            await farm.chat("Say hello.", max_tokens=2)
        assert caught.value.timer == "first event"
        os.kill(pid_of(farm), signal.SIGCONT)
        await assert_answers(farm)
    finally:
        await farm.aclose()


async def test_a_cancel_in_mid_answer_stops_the_child(
    farm: AsyncFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(farm, monkeypatch)
    for count in (5, 15, 25):
        watch.events.clear()
        chat = asyncio.create_task(farm.chat(STORY, temperature=0, seed=1))
        await watch.until(TextDelta, count)
        await assert_cancel_stops(pid_of(farm), chat, f"after {count} tokens")
    await assert_answers(farm)


async def test_a_cancel_while_a_long_prompt_is_read_stops_the_child(
    farm: AsyncFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(farm)
    watch, pid = Watch(farm, monkeypatch), pid_of(farm)
    for count in (1, 3, 5):
        watch.events.clear()
        chat = asyncio.create_task(farm.chat(LONG_PROMPT, seed=1))  # with a seed, nothing is remembered of it
        await watch.until(PromptProgress, count)
        await assert_cancel_stops(pid, chat, f"while reading the prompt, after {count} batches")
        last = watch.events[-1]
        assert isinstance(last, PromptProgress)
        assert last.processed_tokens < last.total_tokens
    await assert_answers(farm)
    assert pid_of(farm) == pid


async def assert_cancel_stops(pid: int, chat: asyncio.Task[Any], when: str) -> None:
    assert await farside.begins_working(pid)
    cancelled_at = time.perf_counter()
    chat.cancel()
    with pytest.raises(asyncio.CancelledError):
        await chat
    returned_s = time.perf_counter() - cancelled_at
    stopped_s = await farside.stopped_after(pid, cancelled_at)
    print(f"\ncancelled {when}: caller back after {returned_s:.3f} s, child at rest after {stopped_s:.3f} s")
    assert returned_s < CANCEL_LIMIT_S
    assert stopped_s < CANCEL_LIMIT_S


async def test_a_caller_who_leaves_while_the_model_loads_leaves_no_child(
    farm: AsyncFarm, llamacpp_children: Callable[[], set[int]]
) -> None:
    others = llamacpp_children()
    chat = asyncio.create_task(farm.chat("hello"))
    await until(lambda: bool(llamacpp_children() - others))
    chat.cancel()
    with pytest.raises(asyncio.CancelledError):
        await chat
    assert llamacpp_children() <= others
    await assert_answers(farm)


async def test_a_farm_closed_while_the_model_loads_leaves_no_child(
    farm: AsyncFarm, llamacpp_children: Callable[[], set[int]]
) -> None:
    others = llamacpp_children()
    chat = asyncio.create_task(farm.chat("hello", max_tokens=2))
    await until(lambda: bool(llamacpp_children() - others))
    await farm.aclose()
    await asyncio.wait([chat])
    assert isinstance(chat.exception(), FarmError)
    assert llamacpp_children() <= others


@pytest.mark.parametrize("later_s", [0.0, 0.2], ids=["at once", "later"])
async def test_unloading_while_the_model_loads_stops_the_load(
    farm: AsyncFarm, llamacpp_children: Callable[[], set[int]], later_s: float
) -> None:
    others = llamacpp_children()
    chat = asyncio.create_task(farm.chat("hello", max_tokens=200))
    await until(lambda: bool(llamacpp_children() - others))
    await asyncio.sleep(later_s)
    assert await farm.unload()
    with pytest.raises(FarmError):
        await chat
    assert llamacpp_children() <= others


async def test_callers_who_wait_for_a_load_that_a_close_ends_start_no_other(
    farm: AsyncFarm, llamacpp_children: Callable[[], set[int]]
) -> None:
    others = llamacpp_children()
    chats = [asyncio.create_task(farm.chat("hello", max_tokens=2)) for _ in range(5)]
    await until(lambda: bool(llamacpp_children() - others))
    await farm.aclose()
    outcomes = await asyncio.gather(*chats, return_exceptions=True)
    assert [isinstance(outcome, FarmError) for outcome in outcomes] == [True] * 5
    assert llamacpp_children() <= others


@pytest.mark.parametrize("how", ["unload", "aclose"])
async def test_unloading_or_closing_in_mid_answer_is_a_typed_error_with_the_text_so_far(
    farm: AsyncFarm, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    watch = Watch(farm, monkeypatch)
    chat = asyncio.create_task(farm.chat(STORY, temperature=0))
    await watch.until(TextDelta, 3)
    await (farm.models.unload(interrupt=True) if how == "unload" else farm.aclose())
    with pytest.raises(ProviderError) as caught:
        await chat
    assert caught.value.partial_text


async def test_unloading_lets_answers_end_first(farm: AsyncFarm, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(farm, monkeypatch)
    chat = asyncio.create_task(farm.chat(STORY, temperature=0, max_tokens=60))
    await watch.until(TextDelta, 3)
    assert await farm.unload()
    assert (await chat).finish_reason in ("length", "stop")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.002)


async def test_a_server_stopped_while_its_process_is_being_made_leaves_none(
    embedded_file: Path, llamacpp_children: Callable[[], set[int]]
) -> None:
    async def stop_at_once() -> None:
        server = LlamaServer(ServerSpec(ModelFiles(embedded_file), CONTEXT_TOKENS, 16, 1, 0))
        start = asyncio.create_task(server.start(30))
        await asyncio.sleep(0)
        assert server.pid is None
        await server.stop()
        with pytest.raises(BackendCrashedError):
            await start

    others = llamacpp_children()
    await loop.run(stop_at_once())
    assert llamacpp_children() <= others


# A parent that dies

PARENT = """
import os, sys, threading, time
from farm_notebook.farm import Farm
farm = Farm(model="llamacpp:smollm2:135m", llamacpp={"context_tokens": 2048})
print("ready", flush=True)
for _ in farm.load():
    pass
print("loaded", flush=True)
how = sys.argv[1]
if how == "answering":
    for piece in farm.stream("Write a very long story."):
        print("piece", flush=True)
elif how == "idle":
    time.sleep(60)
"""


@pytest.fixture
def parent_script(tmp_path: Path, embedded_model: str) -> Path:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    return script


@pytest.mark.parametrize("how", ["idle", "answering", "leaving"])
def test_no_child_outlives_its_parent(parent_script: Path, how: str) -> None:
    with subprocess.Popen(
        [sys.executable, str(parent_script), how], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        wanted = "piece" if how == "answering" else "loaded"
        children: list[psutil.Process] = []
        while (line := parent.stdout.readline().strip()) != wanted:
            assert line, "the parent ended too early"
            if line == "ready":
                children = wait_for_children(parent)
        if how != "leaving":
            parent.kill()
        assert_gone(children, how)


@pytest.mark.parametrize("moment", ["at once", "in llama.cpp"])
def test_no_child_outlives_a_parent_killed_while_the_model_loads(parent_script: Path, moment: str) -> None:
    with subprocess.Popen(
        [sys.executable, str(parent_script), "idle"], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline().strip() == "ready"
        children = wait_for_children(parent)
        while moment == "in llama.cpp" and not any("llama" in path for path in mapped(children[0])):
            time.sleep(0.001)
        parent.kill()
        assert_gone(children, f"loading, {moment}")
        assert "loaded" not in parent.stdout.read()


def wait_for_children(parent: subprocess.Popen[str]) -> list[psutil.Process]:
    process, give_up_at = psutil.Process(parent.pid), time.monotonic() + 30
    while not (children := [child for child in process.children() if is_llamacpp(child)]):
        assert time.monotonic() < give_up_at
        time.sleep(0.001)
    return children


def is_llamacpp(process: psutil.Process) -> bool:
    """Whether it is our child program, and not one that a library asks about the machine."""
    try:
        return any(word.endswith("child.py") for word in process.cmdline())
    except psutil.Error:
        return False


def mapped(process: psutil.Process) -> list[str]:
    return [region.path for region in process.memory_maps() if region.path.endswith((".so", ".gguf"))]


def assert_gone(children: list[psutil.Process], when: str) -> None:
    started = time.perf_counter()
    assert children
    while alive := [child for child in children if is_alive(child)]:
        if time.perf_counter() - started > PARENT_GONE_LIMIT_S:
            for orphan in alive:
                orphan.kill()
            pytest.fail(f"orphaned: {alive}")
        time.sleep(0.005)
    print(f"\nparent gone ({when}): child gone {time.perf_counter() - started:.3f} s later")


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended may wait long for an init that reaps it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_blocking_farm_answers_from_a_plain_thread(embedded_farm: Farm) -> None:
    reply = embedded_farm.chat("What is the capital of Japan?", temperature=0, seed=1)
    assert "Tokyo" in reply.text
    assert reply.timings.total_s > 0
    assert loop.get_loop().is_running()
