"""The farm's loop serves any thread and any other loop, and lets go when its caller does."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import AsyncGenerator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from typing import Any

import pytest

from farm_notebook import loop

SOON_S = 20.0  # far more than anything here takes, far less than for ever
ITEMS = 10_000

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class Source:
    """A generator on the farm's loop that remembers how it was left."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.produced = 0

    async def count(self, limit: int | None = None) -> AsyncGenerator[int, None]:
        """Count up, giving way after each number; then, without a limit, for ever."""
        try:
            while limit is None or self.produced < limit:
                self.produced += 1
                yield self.produced
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)  # a cleanup that itself has to wait
            self.closed.set()


class Sleeper:
    """Work that never ends on its own, and remembers that it was cancelled."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.let_go = threading.Event()

    async def work(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            self.let_go.set()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def sleeper() -> Sleeper:
    return Sleeper()


@pytest.fixture
def hasty_switching() -> Iterator[None]:
    """Threads take turns as often as they can, so that races show."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_subprocess(program: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


async def where() -> tuple[asyncio.AbstractEventLoop, str]:
    return asyncio.get_running_loop(), threading.current_thread().name


async def name_of_caller() -> str:
    return who.get()


async def culprit() -> None:
    raise KeyError("the bad thing")


async def names_of_caller() -> AsyncGenerator[str, None]:
    yield who.get()


# Results and errors


def test_a_thread_gets_the_result() -> None:
    assert loop.run_blocking(answer()) == 42


async def test_a_coroutine_on_another_loop_gets_the_result() -> None:
    assert await loop.run(answer()) == 42


async def test_all_work_runs_on_one_loop_of_its_own() -> None:
    blocking = await asyncio.to_thread(lambda: loop.run_blocking(where()))
    awaited = await loop.run(where())
    assert blocking == awaited == (loop.get_loop(), "farm-loop")
    assert awaited[0] is not asyncio.get_running_loop()


async def test_a_coroutine_on_the_farms_loop_is_awaited_in_place() -> None:
    async def nested() -> bool:
        return (await loop.run(where()))[0] is asyncio.get_running_loop()

    assert await loop.run(nested())


def test_an_error_reaches_a_thread_with_its_traceback() -> None:
    with pytest.raises(KeyError, match="the bad thing") as caught:
        loop.run_blocking(culprit())
    assert "culprit" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


async def test_an_error_reaches_another_loop_with_its_traceback() -> None:
    with pytest.raises(KeyError, match="the bad thing") as caught:
        await loop.run(culprit())
    assert "culprit" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_a_system_exit_of_the_work_is_its_callers_and_leaves_the_loop_running() -> None:
    done = in_subprocess(
        "import sys\n"
        "from farm_notebook import loop\n"
        "async def leave(): sys.exit(7)\n"
        "async def answer(): return 42\n"
        "try:\n"
        "    loop.run_blocking(leave())\n"
        "except SystemExit as error:\n"
        "    print(error.code, loop.run_blocking(answer()))\n"
    )
    assert done.stdout.split() == ["7", "42"], done.stderr


# Context variables


def test_work_sees_the_context_of_its_thread() -> None:
    context = contextvars.copy_context()
    context.run(who.set, "a thread")
    assert context.run(lambda: loop.run_blocking(name_of_caller())) == "a thread"
    assert context.run(lambda: list(loop.iterate_blocking(names_of_caller()))) == ["a thread"]
    assert loop.run_blocking(name_of_caller()) == "nobody"


async def test_work_sees_the_context_of_its_task() -> None:
    async def ask(name: str) -> list[str]:
        who.set(name)
        await asyncio.sleep(0)
        return [await loop.run(name_of_caller()), *[item async for item in loop.iterate(names_of_caller())]]

    names = [f"task {number}" for number in range(20)]
    assert await asyncio.gather(*map(ask, names)) == [[name, name] for name in names]


def test_what_work_sets_stays_with_the_work() -> None:
    async def rename() -> None:
        who.set("work")

    loop.run_blocking(rename())
    assert who.get() == "nobody"
    assert loop.run_blocking(name_of_caller()) == "nobody"


# Cancelling


async def test_a_timeout_on_another_loop_cancels_the_work_and_waits_for_it(sleeper: Sleeper) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(loop.run(sleeper.work()), 0.05)
    assert sleeper.started.is_set()
    assert sleeper.let_go.is_set()


async def test_a_cancelled_task_cancels_the_work_and_stays_cancelled(sleeper: Sleeper) -> None:
    task = asyncio.create_task(loop.run(sleeper.work()))
    assert await asyncio.to_thread(sleeper.started.wait, SOON_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert sleeper.let_go.is_set()


async def test_a_timeout_within_a_stream_closes_its_source(source: Source) -> None:
    async def silent() -> AsyncGenerator[int, None]:
        async with aclosing(source.count()) as numbers:
            yield await anext(numbers)
            await asyncio.Event().wait()

    async with aclosing(loop.iterate(silent())) as items:
        assert await anext(items) == 1
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(items), 0.05)
    assert source.closed.is_set()


async def test_a_cancel_that_comes_as_the_work_starts_is_not_lost() -> None:
    async def for_ever() -> None:
        await asyncio.Event().wait()

    for _ in range(200):
        task = asyncio.create_task(loop.run(for_ever()))
        await asyncio.sleep(0)
        task.cancel()
        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)


@pytest.mark.parametrize(
    "call",
    ["loop.run_blocking(work())", "list(loop.iterate_blocking(stream()))"],
    ids=["run_blocking", "iterate_blocking"],
)
def test_ctrl_c_in_the_main_thread_cancels_the_work_and_is_raised_there(call: str) -> None:
    done = in_subprocess(
        "import asyncio, os, signal, threading\n"
        "from farm_notebook import loop\n"
        "async def work():\n"
        "    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    try:\n"
        "        await asyncio.Event().wait()\n"
        "    finally:\n"
        "        await asyncio.sleep(0.01)\n"
        "        print('let go', flush=True)\n"
        "async def stream():\n"
        "    yield await work()\n"
        "async def answer(): return 42\n"
        "try:\n"
        f"    {call}\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', loop.run_blocking(answer()))\n"
    )
    assert done.stdout.split("\n") == ["let go", "interrupted 42", ""], done.stderr
    assert done.stderr == ""


# Streams


@pytest.mark.parametrize("has_begun", [True, False], ids=["has begun", "has not begun"])
@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "result"])
def test_ctrl_c_in_the_moment_in_which_work_begins_is_not_lost_on_it(
    has_begun: bool, is_stream: bool, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm_loop = loop.get_loop()
    schedule = farm_loop.call_soon_threadsafe

    def interrupted(*callback: Any, context: contextvars.Context | None = None) -> None:
        monkeypatch.undo()
        if has_begun:
            schedule(*callback, context=context)
            assert sleeper.started.wait(SOON_S)
        raise KeyboardInterrupt

    async def stream() -> AsyncGenerator[int, None]:
        await sleeper.work()
        yield 1

    monkeypatch.setattr(farm_loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(loop.iterate_blocking(stream())) if is_stream else loop.run_blocking(sleeper.work())
    assert (sleeper.started.is_set(), sleeper.let_go.is_set()) == (has_begun, has_begun)


def test_a_thread_gets_every_item_in_order(source: Source) -> None:
    assert list(loop.iterate_blocking(source.count(ITEMS))) == list(range(1, ITEMS + 1))
    assert source.closed.is_set()


async def test_another_loop_gets_every_item_in_order(source: Source) -> None:
    assert [item async for item in loop.iterate(source.count(ITEMS))] == list(range(1, ITEMS + 1))
    assert source.closed.is_set()


async def test_the_farms_loop_gets_every_item_in_order(source: Source) -> None:
    async def collect() -> list[int]:
        return [item async for item in loop.iterate(source.count(100))]

    assert await loop.run(collect()) == list(range(1, 101))
    assert source.closed.is_set()


async def test_an_item_that_comes_just_after_the_reader_took_the_rest_is_announced() -> None:
    class TakenJustNow(deque[int]):
        def append(self, item: int) -> None:
            self.clear()  # as the reader's thread does, at the worst moment
            super().append(item)

    announced: list[list[int]] = []
    buffer = loop._Buffer[int](lambda: announced.append(list(buffer.items)))
    buffer.items = TakenJustNow()
    await buffer.drain(Source().count(3))
    assert announced == [[1], [2], [3]]


@pytest.mark.usefixtures("hasty_switching")
async def test_no_item_waits_for_the_next_one_to_be_seen() -> None:
    """The source says two items, then none until both were taken: one not announced stops it all."""
    taken = threading.Event()

    async def pairs() -> AsyncGenerator[int, None]:
        for number in range(0, ITEMS, 2):
            taken.clear()
            yield number
            yield number + 1
            while not taken.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0)

    seen: list[int] = []
    async with asyncio.timeout(SOON_S), aclosing(loop.iterate(pairs())) as items:
        async for item in items:
            seen.append(item)
            if item % 2:
                taken.set()
    assert seen == list(range(ITEMS))


async def test_many_readers_at_once_each_get_their_own_items() -> None:
    async def numbers(start: int) -> AsyncGenerator[int, None]:
        for number in range(start, start + 500):
            yield number
            if number % 7 == 0:
                await asyncio.sleep(0)

    async def read(start: int) -> list[int]:
        if start % 2:
            return await asyncio.to_thread(lambda: list(loop.iterate_blocking(numbers(start))))
        return [item async for item in loop.iterate(numbers(start))]

    starts = range(0, 21_000, 1_001)
    found = await asyncio.gather(*map(read, starts))
    assert found == [list(range(start, start + 500)) for start in starts]


def test_leaving_a_stream_early_in_a_thread_closes_its_source(source: Source) -> None:
    items = loop.iterate_blocking(source.count())
    assert isinstance(items, Generator)
    with closing(items):
        assert next(items) == 1
    assert source.closed.is_set()
    produced = source.produced
    time.sleep(0.05)
    assert source.produced == produced


def test_dropping_a_stream_in_a_thread_closes_its_source(source: Source) -> None:
    for _ in loop.iterate_blocking(source.count()):
        break
    gc.collect()
    assert source.closed.wait(SOON_S)


async def test_leaving_a_stream_early_on_another_loop_closes_its_source(source: Source) -> None:
    async with aclosing(loop.iterate(source.count())) as items:
        async for item in items:
            if item == 3:
                break
    assert source.closed.is_set()


async def test_leaving_a_stream_early_on_the_farms_loop_closes_its_source(source: Source) -> None:
    async def first() -> int:
        async with aclosing(loop.iterate(source.count())) as items:
            return await anext(items)

    assert await loop.run(first()) == 1
    assert source.closed.is_set()


def test_a_stream_that_nobody_reads_never_starts(source: Source) -> None:
    items = loop.iterate_blocking(source.count())
    del items
    gc.collect()
    assert source.produced == 0


def test_a_streams_error_comes_after_its_items() -> None:
    async def broken() -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        raise KeyError("the bad thing")

    seen: list[int] = []
    with pytest.raises(KeyError, match="the bad thing"):
        seen.extend(loop.iterate_blocking(broken()))  # a list keeps what came before the error
    assert seen == [1, 2]


async def test_a_streams_error_comes_after_its_items_on_another_loop() -> None:
    async def broken() -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        raise KeyError("the bad thing")

    seen: list[int] = []

    async def read() -> None:
        async for item in loop.iterate(broken()):
            seen.append(item)

    with pytest.raises(KeyError, match="the bad thing"):
        await read()
    assert seen == [1, 2]


def test_a_stream_that_is_dropped_on_the_farms_loop_does_not_hold_it_up(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector runs in whatever thread it likes."""
    monkeypatch.setattr(loop, "LET_GO_S", 3 * SOON_S)
    holder = [loop.iterate_blocking(source.count())]
    next(holder[0])

    async def drop() -> None:
        holder.clear()
        gc.collect()

    began = time.monotonic()
    loop.run_blocking(drop())
    assert time.monotonic() - began < SOON_S
    assert source.closed.wait(SOON_S)


# Threads and loops


def test_many_threads_may_call_at_once() -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0.001)
        return 2 * number

    with ThreadPoolExecutor(32) as pool:
        doubled = list(pool.map(lambda number: loop.run_blocking(double(number)), range(500)))
    assert doubled == [2 * number for number in range(500)]


def test_threads_that_race_for_the_first_loop_get_the_same() -> None:
    done = in_subprocess(
        "import threading\n"
        "from farm_notebook import loop\n"
        "gate, found = threading.Barrier(16), []\n"
        "def get():\n"
        "    gate.wait()\n"
        "    found.append(loop.get_loop())\n"
        "threads = [threading.Thread(target=get) for _ in range(16)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(len(found), len(set(map(id, found))))\n"
    )
    assert done.stdout.split() == ["16", "1"], done.stderr


async def test_a_blocking_call_works_while_a_loop_runs_in_the_thread() -> None:
    assert loop.run_blocking(answer()) == 42
    assert list(loop.iterate_blocking(Source().count(3))) == [1, 2, 3]


async def test_a_blocking_call_on_the_farms_loop_is_an_error_and_not_a_deadlock() -> None:
    async def call() -> None:
        loop.run_blocking(answer())

    async def read() -> None:
        list(loop.iterate_blocking(Source().count(3)))

    for work in (call, read):
        with pytest.raises(RuntimeError, match="Use AsyncFarm"):
            await asyncio.wait_for(loop.run(work()), SOON_S)


def test_a_loop_that_ends_with_a_stream_open_closes_its_source(source: Source) -> None:
    async def first() -> int:
        async for item in loop.iterate(source.count()):
            return item
        raise AssertionError("the stream was empty")

    assert asyncio.run(first()) == 1
    assert source.closed.wait(SOON_S)


# Processes

FORK = """
import asyncio, os, signal
from farm_notebook import loop
loop.LET_GO_S = 60  # so that waiting in vain is seen
async def answer(): return 42
async def count():
    for number in range(3): yield number
{before}
child = os.fork()
if child == 0:
    signal.alarm(20)
    print("child", loop.run_blocking(answer()), *loop.iterate_blocking(count()), flush=True)
    {leave}
else:
    _, status = os.waitpid(child, 0)
    print("parent", os.waitstatus_to_exitcode(status), loop.run_blocking(answer()), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
@pytest.mark.parametrize("leave", ["os._exit(0)", "raise SystemExit(0)"], ids=["_exit", "exit"])
@pytest.mark.parametrize(
    "before",
    ["", "loop.run_blocking(answer())", "stream = loop.iterate_blocking(count()); next(stream)"],
    ids=["before any use", "after a call", "within a stream"],
)
def test_a_forked_child_gets_a_loop_of_its_own_and_the_parent_keeps_its(before: str, leave: str) -> None:
    done = in_subprocess(FORK.format(before=before, leave=leave), "-X", "dev", "-W", "ignore:This process")
    assert done.stdout.splitlines() == ["child 42 0 1 2", "parent 0 42"], done.stderr
    assert done.stderr == ""


EXIT = """
import asyncio
from farm_notebook import loop
loop.LET_GO_S = 60  # so that waiting in vain is seen
async def answer(): return 42
async def count():
    try:
        for number in range(10**9):
            yield number
            await asyncio.sleep(0.001)
    finally:
        print("closed", flush=True)
async def close(): print("shut down", flush=True)
tasks = []
async def leave_a_task(): tasks.append(asyncio.create_task(asyncio.sleep(60)))
loop.at_shutdown(close)
{last}
print("done", flush=True)
"""


@pytest.mark.parametrize("flags", [("-X", "dev"), ("-W", "error")], ids=["dev", "errors"])
@pytest.mark.parametrize(
    ("last", "printed"),
    [
        ("", {"done"}),
        ("loop.run_blocking(answer())", {"done", "shut down"}),
        ("asyncio.run(loop.run(answer()))", {"done", "shut down"}),
        ("stream = loop.iterate_blocking(count()); next(stream)", {"done", "shut down", "closed"}),
        ("loop.run_blocking(leave_a_task())", {"done", "shut down"}),
    ],
    ids=["never used", "after a call", "after a call of a loop", "within a stream", "with a stray task"],
)
def test_the_interpreter_exits_quietly(last: str, printed: set[str], flags: tuple[str, ...]) -> None:
    began = time.monotonic()
    done = in_subprocess(EXIT.format(last=last), *flags)
    assert done.returncode == 0
    assert done.stderr == ""
    assert set(done.stdout.split("\n")) - {""} == printed
    assert time.monotonic() - began < SOON_S
