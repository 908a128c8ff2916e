"""The chat panel in the kernel: a conversation is asked, stopped, asked again, and shared with cells."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from farm_notebook import loop
from farm_notebook.errors import ConfigError
from farm_notebook.farm import Farm
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.reply import Reply
from farm_notebook.threads import Threads
from farm_notebook.types import ChatMessage, Image, ModelRef
from farm_notebook.widgets import panel as panel_module
from farm_notebook.widgets.chat import ChatPanel, ChatPart
from farm_notebook.widgets.chat import turns as turns_module
from farm_notebook.widgets.chat.settings import ChatSettings
from farm_notebook.widgets.panel import Panel

from .pages import Page

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(30)).decode()
ECHO = ModelRef("scripted", "echo")


@pytest.fixture(autouse=True)
def no_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel_module, "built", lambda entry: ("", ""))


@pytest.fixture
def farm() -> Farm:
    """Not closed after the test: that would close the providers of every farm with the same settings."""
    return Farm(model="scripted:echo")


@pytest.fixture
def threads() -> Threads:
    return Threads()


class Chat:
    """A chat panel as a page handles it."""

    def __init__(self, page: Page, farm: Farm, threads: Threads, **options: Any) -> None:
        self.page = page
        self.part = ChatPart(farm, threads=threads, **options)
        self.panel = Panel("chat", [self.part])
        page.look("chat")
        page.wait_until(lambda: "turns" in page.state)

    def call(self, call: str, **args: Any) -> dict[str, Any] | None:
        return self.page.call("chat", call, **args)

    def begin(self, text: str, *images: str) -> None:
        assert self.call("send", text=text, images=list(images)) is None

    def ask(self, text: str, *images: str) -> None:
        self.begin(text, *images)
        self.end()

    def end(self) -> None:
        self.page.wait_until(lambda: self.page.state["running"] is None)

    @property
    def turns(self) -> list[dict[str, Any]]:
        state = self.page.state
        return [state[name] for name in state["turns"]]

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(each["question"]["text"], each["answer"]["text"]) for each in self.turns]

    @property
    def streamed(self) -> str:
        pieces = [each["data"]["text"] for each in self.page.frames if each.get("event") == "piece"]
        return "".join(pieces)

    def wait_for_words(self, count: int) -> None:
        self.page.wait_until(lambda: len(self.streamed.split()) >= count)


@pytest.fixture
def chat(page: Page, farm: Farm, threads: Threads, tmp_path: Path) -> Chat:
    return Chat(page, farm, threads, folder=tmp_path)


def test_a_question_is_streamed_and_kept_in_the_thread(chat: Chat, threads: Threads) -> None:
    chat.ask("one two three")
    assert chat.streamed == "one two three"
    assert chat.said == [("one two three", "one two three")]
    assert chat.turns[0]["answer"]["footer"].startswith("scripted:echo · 3 tokens")
    assert [each.prompt.content for each in threads.exchanges("notebook")] == ["one two three"]
    assert chat.page.state["totals"] == {"input_tokens": 3, "output_tokens": 3, "cost": 0.0}


def test_what_was_said_is_sent_with_the_next_question(chat: Chat) -> None:
    chat.ask("one two")
    chat.ask("three")
    assert chat.page.state["totals"]["input_tokens"] == 2 + (2 + 2 + 1)


def test_the_turn_has_the_name_that_it_had_on_its_way(chat: Chat) -> None:
    chat.ask("hello")
    names = [
        each["set"]["running"]["name"] for each in chat.page.frames if (each.get("set") or {}).get("running")
    ]
    assert names == chat.page.state["turns"]


def test_an_answer_that_is_added_sends_none_of_the_others_again(chat: Chat) -> None:
    chat.ask("first")
    (first,) = chat.page.state["turns"]
    chat.page.frames.clear()
    chat.ask("second")
    assert not any(first in frame.get("set", {}) for frame in chat.page.frames)


def test_stop_ends_the_stream_and_keeps_what_had_arrived(chat: Chat, threads: Threads) -> None:
    chat.call("model", name="scripted:slow-500")
    chat.begin("count")
    chat.wait_for_words(3)
    assert ScriptedProvider.open_streams == 1
    assert chat.call("stop") is None
    assert ScriptedProvider.open_streams == 0
    (turn,) = chat.turns
    assert turn["answer"]["is_partial"]
    assert turn["answer"]["text"].startswith("word0 word1 word2")
    assert threads.exchanges("notebook")[0].reply.finish_reason == "interrupted"
    assert chat.page.state["running"] is None


def test_what_is_stopped_before_its_first_word_stays_as_a_question(chat: Chat, threads: Threads) -> None:
    chat.call("model", name="scripted:stall-0")
    chat.begin("anyone?")
    chat.call("stop")
    assert threads.names() == ()
    assert chat.page.state["attempt"] == {"question": {"text": "anyone?", "images": []}, "problem": None}
    chat.call("model", name=None)
    assert chat.call("retry", turn=None) is None
    chat.end()
    assert chat.said == [("anyone?", "anyone?")]
    assert chat.page.state["attempt"] is None


def test_stop_without_anything_under_way_does_nothing(chat: Chat) -> None:
    assert chat.call("stop") is None


def test_a_second_question_is_refused_while_an_answer_is_on_its_way(chat: Chat) -> None:
    chat.call("model", name="scripted:stall-2")
    chat.begin("first")
    for call, args in (
        ("send", {"text": "second", "images": []}),
        ("thread", {"name": "other"}),
        ("forget", {}),
    ):
        error = chat.call(call, **args)
        assert error is not None
        assert "still on its way" in error["message"]
    chat.call("stop")
    assert [question for question, _ in chat.said] == ["first"]


def test_an_answer_that_breaks_off_is_kept_with_the_reason(chat: Chat, threads: Threads) -> None:
    chat.call("model", name="scripted:fail-3")
    chat.ask("go on")
    (turn,) = chat.turns
    assert turn["answer"]["text"] == "word0 word1 word2"
    assert "broke on cue" in turn["problem"]["message"]
    assert threads.exchanges("notebook")[0].reply.finish_reason == "error"


def test_an_error_before_the_first_word_stays_with_its_question(chat: Chat, threads: Threads) -> None:
    chat.call("model", name="scripted:error-401")
    chat.ask("hello?")
    attempt = chat.page.state["attempt"]
    assert attempt["question"]["text"] == "hello?"
    assert attempt["problem"]["title"] == "The key was refused"
    assert threads.names() == ()
    assert chat.call("dismiss") is None
    assert chat.page.state["attempt"] is None


def test_an_answer_without_a_word_says_so(chat: Chat) -> None:
    chat.call("model", name="scripted:count-0")
    chat.ask("hello?")
    assert chat.page.state["attempt"]["problem"]["title"] == "No answer"


def test_asking_again_takes_the_place_of_the_answer(chat: Chat) -> None:
    chat.ask("first")
    chat.ask("second")
    chat.call("model", name="scripted:count-2")
    chat.call("retry", turn=chat.page.state["turns"][1])
    chat.end()
    assert chat.said == [("first", "first"), ("second", "word0 word1")]


def test_what_is_asked_again_in_vain_leaves_the_answer_that_there_was(chat: Chat) -> None:
    chat.ask("first")
    chat.call("model", name="scripted:error-500")
    chat.call("retry", turn=chat.page.state["turns"][0])
    chat.end()
    assert chat.said == [("first", "first")]
    assert chat.page.state["attempt"]["problem"] is not None


def test_a_question_in_other_words_forgets_what_came_after_it(chat: Chat) -> None:
    for text in ("first", "second", "third"):
        chat.ask(text)
    assert chat.call("edit", turn=chat.page.state["turns"][1], text="other") is None
    chat.end()
    assert chat.said == [("first", "first"), ("other", "other")]


def test_a_question_that_is_gone_cannot_be_asked_again(chat: Chat, threads: Threads) -> None:
    chat.ask("first")
    (name,) = chat.page.state["turns"]
    threads.reset("notebook")
    error = chat.call("retry", turn=name)
    assert error is not None
    assert "not in the conversation any more" in error["message"]


def test_what_a_cell_says_in_the_thread_appears(chat: Chat, threads: Threads) -> None:
    threads.add("notebook", ChatMessage("user", "from a cell"), Reply("an answer", ECHO, "stop"))
    chat.page.wait_until(lambda: chat.said == [("from a cell", "an answer")])
    threads.reset("notebook")
    chat.page.wait_until(lambda: chat.said == [])


def test_what_a_cell_says_while_something_is_asked_anew_stays(chat: Chat, threads: Threads) -> None:
    chat.ask("first")
    chat.call("model", name="scripted:slow-6")
    chat.call("retry", turn=chat.page.state["turns"][0])
    threads.add("notebook", ChatMessage("user", "from a cell"), Reply("an answer", ECHO, "stop"))
    chat.end()
    assert [question for question, _ in chat.said] == ["first", "from a cell"]
    assert chat.said[0][1].startswith("word0")


def test_a_thread_that_a_cell_has_forgotten_meanwhile_has_the_new_answer_only(
    chat: Chat, threads: Threads
) -> None:
    chat.ask("first")
    chat.call("model", name="scripted:slow-6")
    chat.begin("second")
    threads.reset("notebook")
    chat.end()
    assert [question for question, _ in chat.said] == ["second"]


def test_a_view_that_appears_while_an_answer_streams_gets_it_so_far(chat: Chat) -> None:
    chat.call("model", name="scripted:slow-500")
    chat.begin("count")
    chat.wait_for_words(5)
    before = len(chat.page.frames)
    chat.page.look("chat", view="second")
    chat.page.wait_until(lambda: any("state" in frame for frame in chat.page.frames[before:]))
    running = next(frame for frame in chat.page.frames[before:] if "state" in frame)["state"]["running"]
    assert running["text"].startswith("word0 word1 word2 word3 word4")
    following = chat.page.wait_for(
        lambda frame: frame.get("event") == "piece" and frame["data"]["number"] == running["pieces"] + 1
    )
    next_word = int(running["text"].rsplit("word", 1)[1]) + 1
    assert following["data"]["text"].startswith(f" word{next_word}")
    chat.call("stop")


def test_a_page_that_has_missed_a_piece_can_ask_for_all_of_it(chat: Chat) -> None:
    chat.call("model", name="scripted:slow-500")
    chat.begin("count")
    chat.wait_for_words(3)
    assert chat.call("sync") is None
    assert chat.page.state["running"]["text"].startswith("word0 word1")
    chat.call("stop")


def test_a_very_long_conversation_is_told_in_parts_its_end_first(
    page: Page, farm: Farm, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "LARGEST_CHARS", 100)
    for number in range(6):
        threads.add("notebook", ChatMessage("user", f"question {number}"), Reply("x" * 40, ECHO, "stop"))
    chat = Chat(page, farm, threads)
    (state,) = [frame["state"] for frame in page.frames if "state" in frame]
    assert len(state["turns"]) == 6
    assert [name in state for name in state["turns"]] == [False] * 4 + [True] * 2
    page.wait_until(lambda: all(name in page.state for name in state["turns"]))
    assert [question for question, _ in chat.said] == [f"question {number}" for number in range(6)]


def test_pieces_are_gathered(chat: Chat) -> None:
    chat.call("model", name="scripted:count-3000")
    chat.ask("count")
    pieces = [each for each in chat.page.frames if each.get("event") == "piece"]
    assert len(pieces) < 300
    assert chat.streamed == chat.said[0][1]


def test_reasoning_is_kept_apart(chat: Chat) -> None:
    chat.call("model", name="scripted:think-3")
    chat.ask("hm")
    pieces = [each["data"] for each in chat.page.frames if each.get("event") == "piece"]
    assert "".join(each["reasoning"] for each in pieces) == "thought0 thought1 thought2"
    assert chat.turns[0]["answer"]["reasoning"] == "thought0 thought1 thought2"


def test_the_model_is_the_farms_default_at_each_question(chat: Chat, farm: Farm) -> None:
    assert chat.page.state["default_model"] == "scripted:echo"
    farm.use("scripted:count-2")
    chat.page.wait_until(lambda: chat.page.state["default_model"] == "scripted:count-2")
    chat.ask("hello")
    chat.call("model", name="scripted:count-1")
    chat.ask("hello")
    assert [answer for _, answer in chat.said] == ["word0 word1", "word0"]


def test_a_model_that_leads_nowhere_is_refused_and_the_one_before_stays(page: Page, threads: Threads) -> None:
    farm = Farm(model="scripted:echo", openai={"enabled": False})
    chat = Chat(page, farm, threads)
    error = chat.call("model", name="openai:any")
    assert error is not None
    assert "switched off" in error["message"]
    assert page.state["model"] is None
    farm.close()


def test_a_model_that_nobody_lists_is_told_of(chat: Chat) -> None:
    assert chat.call("model", name="llamacpp:nosuch") is None
    chat.page.wait_until(lambda: "does not list 'nosuch'" in chat.page.state["doubt"])
    assert chat.call("model", name=None) is None
    assert chat.page.state["doubt"] == ""


def test_settings_go_with_every_question(page: Page, farm: Farm, threads: Threads) -> None:
    chat = Chat(page, farm, threads, settings=ChatSettings(system="Be brief."))
    assert page.state["settings"]["system"] == "Be brief."
    values = {"system": "Be long.", "temperature": 0.5, "top_p": None, "max_tokens": 2, "seed": 7}
    assert chat.call("settings", **values) is None
    chat.ask("one two three")
    (exchange,) = threads.exchanges("notebook")
    assert exchange.reply.parameters == {"temperature": 0.5, "max_tokens": 2, "seed": 7}
    assert exchange.reply.usage.input_tokens == 2 + 3
    assert exchange.messages[0].role == "user", "the system message is no part of the thread"


def test_a_setting_out_of_range_is_refused_and_those_before_stay(chat: Chat) -> None:
    values = {"system": None, "temperature": -1.0, "top_p": None, "max_tokens": None, "seed": None}
    error = chat.call("settings", **values)
    assert error is not None
    assert "temperature=-1.0" in error["message"]
    assert chat.page.state["settings"]["temperature"] is None


def test_a_picture_is_sent_and_shown(chat: Chat, threads: Threads) -> None:
    chat.ask("what is it?", PNG)
    assert chat.said[0][1].startswith("[1 image: image/png]")
    (image,) = chat.turns[0]["question"]["images"]
    assert image["url"] == f"data:image/png;base64,{PNG}"
    assert threads.exchanges("notebook")[0].prompt.images[0].media_type == "image/png"


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (["no base64!"], "did not arrive whole"),
        ([base64.b64encode(b"<svg onload=alert(1)>").decode()], "no image that models take"),
        (["A" * 7_000_000], "5.2 MB; at most 5 MB"),
        ([PNG] * 9, "9 pictures are too many"),
    ],
)
def test_what_is_no_picture_or_too_large_is_refused(chat: Chat, images: list[str], said: str) -> None:
    error = chat.call("send", text="what is it?", images=images)
    assert error is not None
    assert said in error["message"]
    assert chat.turns == []


def test_a_large_picture_is_shown_small(chat: Chat, threads: Threads) -> None:
    import io

    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.effect_noise((900, 600), 90).save(file, "PNG")
    threads.add(
        "notebook", ChatMessage("user", "", (Image(file.getvalue(), "image/png"),)), Reply("a", ECHO, "stop")
    )
    chat.page.wait_until(
        lambda: bool(chat.turns) and chat.turns[0]["question"]["images"][0]["url"] is not None
    )
    image = chat.turns[0]["question"]["images"][0]
    shown = Pillow.open(io.BytesIO(base64.b64decode(image["url"].partition(",")[2])))
    assert max(shown.size) <= 320
    assert image["size_bytes"] == len(file.getvalue())


def test_an_empty_question_is_refused(chat: Chat) -> None:
    error = chat.call("send", text="  ", images=[])
    assert error is not None
    assert "The prompt is empty" in error["message"]
    assert chat.page.state["running"] is None


def test_another_thread_is_shown_and_gone_on_with(chat: Chat, threads: Threads) -> None:
    chat.ask("here")
    threads.add("other", ChatMessage("user", "there"), Reply("it is", ECHO, "stop"))
    assert chat.call("thread", name="other") is None
    assert chat.said == [("there", "it is")]
    chat.ask("more")
    assert len(threads.exchanges("other")) == 2
    assert chat.page.state["threads"] == ["notebook", "other"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
def test_what_is_no_name_for_a_thread_is_refused(chat: Chat, name: str) -> None:
    assert chat.call("thread", name=name) is not None
    assert chat.page.state["thread"] == "notebook"


def test_a_thread_can_be_forgotten(chat: Chat, threads: Threads) -> None:
    chat.ask("hello")
    assert chat.call("forget") is None
    assert chat.said == []
    assert threads.names() == ()


def test_models_to_choose_from_are_asked_for_when_they_are_wanted(page: Page, threads: Threads) -> None:
    farm = Farm(model="scripted:echo", aliases={"quick": "scripted:count-3"})
    chat = Chat(page, farm, threads)
    assert page.state["models"] is None
    assert chat.call("models") is None
    models: Any = page.state["models"]
    assert models[0]["name"] == "quick"
    assert "llamacpp" in {each["group"] for each in models}
    farm.close()


def exported(chat: Chat, kind: str) -> dict[str, Any]:
    assert chat.call("export", kind=kind, by="me") is None
    events = [each["data"] for each in chat.page.frames if each.get("event") == "exported"]
    return dict(events[-1])


def test_an_export_writes_a_notebook_beside_and_over_nothing(chat: Chat, tmp_path: Path) -> None:
    chat.ask("hello")
    paths = [exported(chat, "notebook")["path"] for _ in range(2)]
    assert paths == [str(tmp_path / "chat-notebook.ipynb"), str(tmp_path / "chat-notebook-2.ipynb")]
    assert json.loads(Path(paths[0]).read_text())["cells"][0]["source"] == "> **You:** hello"


def test_an_export_is_for_the_view_that_asked(chat: Chat) -> None:
    chat.ask("hello")
    assert exported(chat, "cells")["by"] == "me"
    assert exported(chat, "markdown")["text"] == "> **You:** hello\n\nhello"


def test_nothing_cannot_be_exported(chat: Chat) -> None:
    error = chat.call("export", kind="notebook", by="me")
    assert error is not None
    assert "Nothing was said yet" in error["message"]


def test_code_is_put_below_the_next_cell_once(page: Page, farm: Farm, threads: Threads) -> None:
    hooks: list[Any] = []
    events = SimpleNamespace(
        register=lambda name, hook: hooks.append((name, hook)), unregister=lambda name, hook: hooks.clear()
    )
    filled: list[str] = []
    shell = SimpleNamespace(events=events, set_next_input=lambda text, replace: filled.append(text))
    chat = Chat(page, farm, threads, shell=shell)
    assert chat.call("insert", code="x = 1") is None
    assert chat.call("insert", code="y = 2") is None
    ((name, hook),) = hooks
    assert name == "post_run_cell"
    hook(None)
    assert (filled, hooks) == (["x = 1\n\ny = 2"], [])


def test_without_a_notebook_code_cannot_be_put_anywhere(chat: Chat) -> None:
    error = chat.call("insert", code="x = 1")
    assert error is not None
    assert "Copy the code" in error["message"]


def test_closing_stops_what_is_under_way_and_keeps_it(chat: Chat, threads: Threads) -> None:
    chat.call("model", name="scripted:slow-500")
    chat.begin("count")
    chat.wait_for_words(2)
    loop.run_blocking(chat.panel.aclose())
    assert ScriptedProvider.open_streams == 0
    assert threads.exchanges("notebook")[0].reply.is_partial
    threads.add("notebook", ChatMessage("user", "later"), Reply("unheard", ECHO, "stop"))


def test_nothing_of_a_conversation_is_in_the_widgets_state(chat: Chat) -> None:
    chat.ask("a secret question")
    assert "secret" not in json.dumps(chat.page.states)


def test_the_static_output_is_the_transcript(chat: Chat) -> None:
    chat.ask("is **this** it?")
    assert "<strong>this</strong>" in chat.part.static_html()
    assert chat.part.static_text().startswith("You: is **this** it?")


def test_the_public_panel_takes_a_thread_a_model_and_a_system_prompt(page: Page, farm: Farm) -> None:
    ChatPanel(thread="mine", model="scripted:count-2", system="Be brief.", farm=farm)
    page.look("chat")
    page.wait_until(lambda: "thread" in page.state)
    state = page.state
    assert (state["thread"], state["model"], state["settings"]["system"]) == (
        "mine",
        "scripted:count-2",
        "Be brief.",
    )


def test_a_panel_with_a_model_that_leads_nowhere_is_not_made() -> None:
    farm = Farm(model="scripted:echo", openai={"enabled": False})
    with pytest.raises(ConfigError, match="switched off"):
        ChatPanel(model="openai:any", farm=farm)
    farm.close()


def test_a_secret_that_a_cell_filled_in_is_sent_and_neither_shown_nor_saved(
    page: Page, farm: Farm, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-planted-0123456789abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    threads.add("notebook", ChatMessage("user", f"Is {key} a key?"), Reply(f"Yes: {key}", ECHO, "stop"))
    chat = Chat(page, farm, threads)
    assert chat.call("send", text=f"And is {key} one?", images=[]) is None
    page.wait_until(lambda: len(threads.exchanges("notebook")) == 2 and page.state["running"] is None)
    assert threads.exchanges("notebook")[1].prompt.content == f"And is {key} one?"
    shown = [json.dumps(page.frames), chat.part.static_html(), chat.part.static_text()]
    assert [key in each for each in shown] == [False, False, False]
    assert "Is *** a key?" in chat.part.static_text()
