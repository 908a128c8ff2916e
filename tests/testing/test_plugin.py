"""The plugin does nothing unless it is asked, and then what its options, marks and fixtures say."""

from __future__ import annotations

import shutil
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from .runs import PLUGIN, outcomes, run_pytest, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STORY = """\
    import pytest

    import farm_notebook
    from farm_notebook.farm import Farm, default_farm

    kept = default_farm()


    def test_calls(farm_replay):
        assert farm_replay.chat("One", model="scripted:count-1").text == "word0"
        assert farm_notebook.chat("Two", model="scripted:count-2").text == "word0 word1"
        assert kept.chat("Three", model="scripted:count-3").text == "word0 word1 word2"
        assert Farm().chat("One again", model="scripted:count-1").text == "word0"


    @pytest.mark.parametrize("prompt", ["a/b", "c"])
    def test_cases(farm_replay, prompt):
        assert farm_replay.chat(prompt, model="scripted:echo").text == prompt


    class TestOfAClass:
        @pytest.mark.farm_cassette("cassettes/shared.farm.jsonl")
        def test_a_named_file(self, farm_replay):
            assert farm_replay.chat("Named", model="scripted:echo").text == "Named"


    def test_nothing_is_asked(farm_replay):
        assert farm_replay.config.cassette.mode != "off"


    def test_afterwards_all_is_as_it_was():
        assert default_farm().config.cassette.mode == "off"
        assert default_farm().chat("Live", model="scripted:echo").text == "Live"
"""
CALLS = "test_story.test_calls.farm.jsonl"
FILES = {
    "cassettes/shared.farm.jsonl",
    CALLS,
    "test_story.test_cases-a-b.farm.jsonl",
    "test_story.test_cases-c.farm.jsonl",
}


class Story:
    """A folder with tests, and what pytest says of them.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str) -> None:
        """Have other tests."""
        write(self.folder, "test_story.py", text)

    def run(self, *args: str, settings: str = "") -> str:
        """What pytest prints."""
        return run_pytest(self.folder, *args, settings=settings)

    def cassettes(self) -> dict[str, bytes]:
        """All of them."""
        paths = self.folder.rglob("*.farm.jsonl")
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """A folder for tests."""
    return Story(tmp_path)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A folder with tests whose calls are recorded."""
    story = Story(tmp_path_factory.mktemp("recording"))
    story.write(STORY)
    told = story.run("--farm-record")
    assert {*outcomes(told).values()} == {"PASSED"}, told
    assert "farm: calls are recorded\n" in told
    return story


@pytest.fixture
def recorded(recording: Story, tmp_path: Path) -> Story:
    """The same, to be changed."""
    shutil.copytree(recording.folder, tmp_path, dirs_exist_ok=True)
    return Story(tmp_path)


def test_each_test_has_a_cassette_beside_it_or_where_its_mark_says(recorded: Story) -> None:
    assert recorded.cassettes().keys() == FILES


@pytest.mark.parametrize("args", [(), ("--farm-strict",)], ids=str)
def test_recorded_tests_are_replayed_with_and_without_options(recorded: Story, args: tuple[str, ...]) -> None:
    before = recorded.cassettes()
    recorded.write(STORY.replace("word", "wort"))
    files = {name: text.replace(b"word", b"wort") for name, text in before.items()}  # which no model says
    for name, text in files.items():
        (recorded.folder / name).write_bytes(text)
    told = recorded.run(*args)
    assert {*outcomes(told).values()} == {"PASSED"}, told
    assert recorded.cassettes() == files


def test_a_changed_call_fails_with_what_changed_and_the_command_that_records_it(recorded: Story) -> None:
    recorded.write(STORY.replace('"Two"', '"Too"'))
    told = recorded.run("--farm-strict")
    assert {*outcomes(told).items()} >= {("test_story.py::test_calls", "FAILED")}
    assert 'messages[0].content: recorded "Two", now "Too"' in told
    assert "run `pytest --farm-record test_story.py::test_calls`. Nobody was asked." in told
    assert ">       assert farm_notebook.chat(" in told
    assert "tape.py" not in told
    assert "never asked for" not in told  # of a test that failed nobody knows what it would have asked


def test_where_nothing_is_recorded_the_error_says_how_to(story: Story) -> None:
    story.write(STORY)
    told = story.run("-k", "cases or nothing")
    assert [*outcomes(told).values()].count("FAILED") == 2
    assert outcomes(told)["test_story.py::test_nothing_is_asked"] == "PASSED"
    assert "`pytest --farm-record 'test_story.py::test_cases[c]'` records it." in told
    assert not story.cassettes()


def test_missing_calls_are_recorded_with_the_rest_as_it_was(recorded: Story) -> None:
    before = recorded.cassettes()[CALLS]
    recorded.write(STORY.replace('chat("One again"', 'chat("One more"'))
    told = recorded.run("--farm-auto")
    assert {*outcomes(told).values()} == {"PASSED"}
    assert {*before.splitlines()} < {*recorded.cassettes()[CALLS].splitlines()}


def test_recorded_calls_that_were_never_asked_for_fail_a_strict_test(recorded: Story) -> None:
    recorded.write(STORY.replace("    assert kept.chat", "    assert True or kept.chat"))
    assert {*outcomes(recorded.run()).values()} == {"PASSED"}
    told = recorded.run("--farm-strict")
    assert [node for node, outcome in outcomes(told).items() if outcome == "ERROR"] == [
        "test_story.py::test_calls"
    ]
    assert f"1 recorded call was never asked for, in {CALLS}:" in told
    assert "  chat scripted:count-3 'Three'" in told
    assert "Delete the file, and `pytest --farm-record test_story.py::test_calls` records it anew." in told


BLOCKED = """\
    import os

    import pytest

    from farm_notebook.config import FarmConfig
    from farm_notebook.farm import Farm

    MODEL = "openai:gpt-5"


    @pytest.fixture(scope="session")
    def farm():
        return Farm(model=MODEL)


    def test_chat(farm):
        farm.chat("Hello")


    def test_a_farm_of_its_own_settings():
        Farm(FarmConfig()).embed("Hello", model=MODEL)


    def test_loading():
        list(Farm(model="llamacpp:smollm2:135m").load())


    def test_listing(farm):
        farm.list_models()


    def test_auto():
        Farm(model="auto").chat("Hello")


    def test_scripts_are_no_real_requests():
        assert Farm(model="scripted:echo").chat("Hello").text == "Hello"


    @pytest.mark.farm_real
    def test_with_the_mark(farm):
        assert "FARM_BLOCK_REQUESTS" not in os.environ
        assert farm.health()


    def test_chat_again(farm):
        farm.chat("Hello")
"""
ALLOWED = {"test_story.py::test_scripts_are_no_real_requests", "test_story.py::test_with_the_mark"}


@pytest.mark.parametrize(
    ("args", "settings"),
    [
        ((), "farm_block_requests = true"),
        (("--farm-replay",), ""),
    ],
    ids=["setting", "replay"],
)
def test_what_would_ask_for_real_fails_and_says_how_it_may(
    story: Story, args: tuple[str, ...], settings: str
) -> None:
    story.write(BLOCKED)
    told = story.run(*args, settings=settings)
    found = outcomes(told)
    assert len(found) == 8
    assert {node for node, outcome in found.items() if outcome == "PASSED"} == ALLOWED, told
    assert "real requests are blocked" in told
    assert "RequestBlockedError: 'openai' was to be asked for real" in told
    assert "RequestBlockedError: 'llamacpp' was to be asked for real" in told
    for name in ("@pytest.mark.farm_real", "`farm_replay`", "`scripted_farm`"):
        assert name in told
    assert "providers.py" not in told


INERT = """\
    import os
    import sys

    def test_nothing_of_it_is_loaded():
        assert "farm_notebook.testing.plugin" in sys.modules
        ours = {name for name in sys.modules if name.startswith("farm_notebook")}
        assert ours == {"farm_notebook", "farm_notebook.testing", "farm_notebook.testing.plugin"}
        assert "pydantic" not in sys.modules


    def test_nothing_is_set():
        assert not {name for name in os.environ if name.startswith(("FARM_CASSETTE", "FARM_BLOCK"))}
"""


def test_pytest_finds_the_plugin_by_itself() -> None:
    (found,) = entry_points(group="pytest11", name="farm_notebook")
    assert found.value == PLUGIN


def test_without_options_marks_and_fixtures_nothing_is_loaded_or_changed(tmp_path: Path) -> None:
    write(tmp_path, "test_inert.py", INERT)
    told = run_pytest(tmp_path)
    assert {*outcomes(told).values()} == {"PASSED"}, told
    assert "farm: " not in told


def test_options_that_contradict_each_other_are_refused(story: Story) -> None:
    assert "--farm-strict goes with --farm-replay, and not with --farm-auto" in story.run(
        "--farm-strict", "--farm-auto"
    )


def test_a_mark_without_a_file_is_refused(story: Story) -> None:
    story.write("import pytest\n@pytest.mark.farm_cassette\ndef test_it(farm_replay): pass\n")
    assert 'Write the mark as @pytest.mark.farm_cassette("story.farm.jsonl")' in story.run()


PROGRAM = """\
    import subprocess
    import sys

    SAID = "import farm_notebook; print(farm_notebook.chat('Hi', model='scripted:echo').text)"


    def test_a_program(farm_replay):
        assert subprocess.check_output([sys.executable, "-c", SAID], text=True).strip() == "Hi"
"""


def test_programs_that_a_test_starts_are_on_its_cassette_too(story: Story) -> None:
    story.write(PROGRAM)
    story.run("--farm-record")
    (path,) = story.folder.glob("*.farm.jsonl")
    path.write_bytes(path.read_bytes().replace(b'["text", "Hi"', b'["text", "Ho"'))
    story.write(PROGRAM.replace('"Hi"', '"Ho"'))
    told = story.run("--farm-strict")
    assert {*outcomes(told).values()} == {"PASSED"}, told
