"""What is gathered is written by a thread, which misses nothing and waits for nothing."""

from __future__ import annotations

import subprocess
import sys
import threading

from farm_notebook.stores.background import BackgroundWriter

PATIENT_S = 30.0  # on a busy machine anything may take long


def test_what_comes_while_it_writes_is_written_once_more() -> None:
    writer, is_writing, may_go_on = BackgroundWriter("farm-test"), threading.Event(), threading.Event()
    gathered, written = ["one"], list[list[str]]()

    def write() -> None:
        written.append(gathered[:])
        gathered.clear()
        is_writing.set()
        may_go_on.wait(PATIENT_S)

    writer.write_soon(write)
    assert is_writing.wait(PATIENT_S)
    for name in ("two", "three"):
        gathered.append(name)
        writer.write_soon(write)
    may_go_on.set()
    writer.wait()
    assert written == [["one"], ["two", "three"]]


def test_what_comes_while_it_gathers_is_written_with_it_and_who_waits_for_it_ends_that() -> None:
    writer, gathered, written = BackgroundWriter("farm-test", gather_s=1e6), list[int](), list[list[int]]()

    def write() -> None:
        written.append(gathered[:])
        gathered.clear()

    for _ in range(2):
        for number in range(3):
            gathered.append(number)
            writer.write_soon(write)
        writer.wait()
    assert written == [[0, 1, 2]] * 2


def test_its_thread_ends_and_another_one_follows() -> None:
    writer, names = BackgroundWriter("farm-test"), list[str]()
    for _ in range(3):
        writer.write_soon(lambda: names.append(threading.current_thread().name))
        writer.wait()
        assert "farm-test" not in {thread.name for thread in threading.enumerate()}
    assert names == ["farm-test"] * 3


def test_nothing_is_lost_however_many_hand_it_over() -> None:
    writer, lock = BackgroundWriter("farm-test"), threading.Lock()
    gathered, written = list[int](), list[int]()

    def write() -> None:
        with lock:
            written.extend(gathered)
            gathered.clear()

    def hand_over(start: int) -> None:
        for number in range(start, start + 500):
            with lock:
                gathered.append(number)
            writer.write_soon(write)

    threads = [threading.Thread(target=hand_over, args=(start,)) for start in range(0, 2000, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENT_S)
    writer.wait()
    assert sorted(written) == list(range(2000))


def test_what_is_left_when_the_interpreter_ends_is_written_there_and_then() -> None:
    program = """
import asyncio, atexit
from farm_notebook.stores.background import BackgroundWriter, in_thread

async def hello():
    await asyncio.to_thread(print, "hello")

async def last_words():
    BackgroundWriter("farm-test").write_soon(lambda: None)
    print(await in_thread(lambda: "goodbye"))

asyncio.run(hello())
atexit.register(lambda: asyncio.run(last_words()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("hello\ngoodbye\n", "")
