"""Conversations by name."""

from __future__ import annotations

from farm_notebook.reply import Reply
from farm_notebook.threads import Exchange, Threads
from farm_notebook.types import ChatMessage, ModelRef, ToolCall

REF = ModelRef("scripted", "echo")


def exchange(prompt: str, answer: str) -> Exchange:
    return Exchange(ChatMessage("user", prompt), Reply(answer, REF, "stop"))


def add(threads: Threads, name: str, *pairs: tuple[str, str]) -> None:
    for prompt, answer in pairs:
        threads.add(name, ChatMessage("user", prompt), Reply(answer, REF, "stop"))


def turn(prompt: str, answer: str) -> tuple[ChatMessage, ...]:
    return ChatMessage("user", prompt), ChatMessage("assistant", answer)


def test_a_new_thread_has_no_history() -> None:
    threads = Threads()
    assert (threads.history("any"), threads.exchanges("any"), threads.names()) == ((), (), ())


def test_exchanges_are_kept_in_order_oldest_first() -> None:
    threads = Threads()
    add(threads, "a", ("one", "1"), ("two", "2"))
    assert threads.exchanges("a") == (exchange("one", "1"), exchange("two", "2"))
    assert threads.history("a") == turn("one", "1") + turn("two", "2")


def test_threads_do_not_see_each_other() -> None:
    threads = Threads()
    add(threads, "a", ("one", "1"))
    add(threads, "b", ("two", "2"))
    assert threads.history("a") == turn("one", "1")
    assert threads.history("b") == turn("two", "2")
    assert threads.names() == ("a", "b")


def test_reset_forgets_one_thread_only_and_may_be_repeated() -> None:
    threads = Threads()
    add(threads, "a", ("one", "1"))
    add(threads, "b", ("two", "2"))
    threads.reset("a")
    threads.reset("a")
    threads.reset("never seen")
    assert threads.names() == ("b",)
    assert threads.history("b") == turn("two", "2")


def test_a_thread_that_is_cut_goes_on_from_there() -> None:
    threads = Threads()
    add(threads, "a", ("one", "1"), ("two", "2"), ("three", "3"))
    threads.cut("a", 1)
    add(threads, "a", ("four", "4"))
    assert threads.exchanges("a") == (exchange("one", "1"), exchange("four", "4"))


def test_a_history_once_taken_does_not_change() -> None:
    threads = Threads()
    add(threads, "a", ("one", "1"))
    taken = threads.history("a")
    add(threads, "a", ("two", "2"))
    assert taken == turn("one", "1")


def test_calls_of_tools_are_no_part_of_the_history() -> None:
    threads = Threads()
    called = Reply("It is 7.", REF, "stop", tool_calls=(ToolCall("1", "add", "{}"),))
    threads.add("a", ChatMessage("user", "3 + 4?"), called)
    assert threads.history("a") == turn("3 + 4?", "It is 7.")


def test_two_notebooks_share_nothing() -> None:
    first, second = Threads(), Threads()
    add(first, "a", ("one", "1"))
    assert second.history("a") == ()


def test_whoever_listens_hears_of_each_change_until_it_ends() -> None:
    threads, heard = Threads(), list[str]()
    end = threads.listen(heard.append)
    add(threads, "a", ("one", "1"))
    threads.cut("a", 0)
    threads.reset("b")
    end()
    end()
    add(threads, "a", ("two", "2"))
    assert heard == ["a", "a", "b"]
