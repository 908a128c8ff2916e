"""Conversations by name."""

from __future__ import annotations

from farm_notebook.notebook.threads import Threads
from farm_notebook.types import ChatMessage


def turn(prompt: str, answer: str) -> tuple[ChatMessage, ...]:
    return ChatMessage("user", prompt), ChatMessage("assistant", answer)


def test_a_new_thread_has_no_history() -> None:
    assert Threads().history("any") == ()


def test_turns_are_kept_in_order_oldest_first() -> None:
    threads = Threads()
    threads.add("a", "one", "1")
    threads.add("a", "two", "2")
    assert threads.history("a") == turn("one", "1") + turn("two", "2")


def test_threads_do_not_see_each_other() -> None:
    threads = Threads()
    threads.add("a", "one", "1")
    threads.add("b", "two", "2")
    assert threads.history("a") == turn("one", "1")
    assert threads.history("b") == turn("two", "2")


def test_reset_forgets_one_thread_only_and_may_be_repeated() -> None:
    threads = Threads()
    threads.add("a", "one", "1")
    threads.add("b", "two", "2")
    threads.reset("a")
    threads.reset("a")
    threads.reset("never seen")
    assert threads.history("a") == ()
    assert threads.history("b") == turn("two", "2")


def test_a_history_once_taken_does_not_change() -> None:
    threads = Threads()
    threads.add("a", "one", "1")
    taken = threads.history("a")
    threads.add("a", "two", "2")
    assert taken == turn("one", "1")


def test_two_notebooks_share_nothing() -> None:
    first, second = Threads(), Threads()
    first.add("a", "one", "1")
    assert second.history("a") == ()
