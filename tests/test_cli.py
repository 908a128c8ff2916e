"""The ``farm`` command: what goes to stdout, what to stderr, and which exit code says how it ended."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import IO, NamedTuple

import psutil
import pytest

from farm_notebook.cli import checks, main
from farm_notebook.providers.llamacpp import provider as llamacpp
from farm_notebook.types import LoadProgress
from farm_notebook.weights.catalog import CATALOG

MODEL = next(iter(CATALOG.values()))
REF = f"llamacpp:{MODEL.name}"
# SIGINT is set back first: a shell has it ignored in what it starts in the background, tests included.
LAUNCH = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from farm_notebook.cli import main; main()"
)
WAIT_S = 60


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Farm = Callable[..., Outcome]


@contextmanager
def start(
    *arguments: str,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
) -> Iterator[subprocess.Popen[bytes]]:
    """A command in its own process, which is ended if the test leaves it running."""
    command = [sys.executable, "-c", LAUNCH, *arguments]
    with subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and none of the user's settings."""
    for name in list(os.environ):
        if name.upper().startswith("FARM_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FARM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def farm(own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Farm:
    """Runs a command in this process."""

    def run(*arguments: str, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return Outcome(int(ended.value.code or 0), *capsys.readouterr())

    return run


# farm chat


def test_an_answer_is_all_there_is_on_stdout(farm: Farm) -> None:
    assert farm("chat", "-m", "scripted:count-3", "x") == (0, "word0 word1 word2\n", "")


def test_ctrl_c_stops_the_model_and_keeps_what_was_printed(own_cache: Path) -> None:
    with start("chat", "-m", "scripted:slow-1000", "x") as process:
        assert process.stdout
        first = process.stdout.read(len("word0 word1"))  # it arrives long before the end
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=WAIT_S)
    text = (first + rest).decode()
    assert process.returncode == 130
    assert text.startswith("word0 word1")
    assert text.endswith("\n")
    assert "word999" not in text
    assert err.decode() == "interrupted: the answer is not complete\n"


def test_a_reader_that_leaves_ends_it_quietly(own_cache: Path) -> None:
    with start("chat", "-m", "scripted:slow-1000", "x") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(5)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(WAIT_S) == 141


@pytest.mark.parametrize(
    ("arguments", "stdin", "prompt"),
    [
        (["only argument"], b"", "only argument"),
        ([], b"only stdin\n", "only stdin"),
        (["summarise"], b"  a\n\n  b\n", "summarise\n\n  a\n\n  b"),
        (["summarise"], b" \n", "summarise"),
        (["caf\u00e9"], b"\xef\xbb\xbf\xe2\x82\xac", "caf\u00e9\n\n\u20ac"),
    ],
)
def test_the_prompt_is_the_argument_and_below_it_stdin(
    farm: Farm, arguments: Sequence[str], stdin: bytes, prompt: str
) -> None:
    assert farm("chat", "-m", "scripted:echo", *arguments, stdin=stdin) == (0, f"{prompt}\n", "")


def test_a_real_pipe_is_read(own_cache: Path) -> None:
    with start("chat", "-m", "scripted:echo", "summarise", stdin=subprocess.PIPE) as process:
        out, _ = process.communicate(b"this\n", timeout=WAIT_S)
    assert out.decode().splitlines() == ["summarise", "", "this"]


def test_json_is_one_object_with_text_and_provenance(farm: Farm) -> None:
    sampling = ("-t", "0.5", "--top-p", "0.9", "--max-tokens", "4", "--seed", "7")
    options = (*sampling, "--stop", "END", "--stop", "word3", "-s", "be brief")
    code, out, err = farm("chat", "x", "-m", "scripted:count", "--json", *options)
    answer = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert answer["text"] == "word0 word1 word2"
    assert answer["model"] == "scripted:count"
    assert answer["parameters"] == {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 4,
        "seed": 7,
        "stop": ["END", "word3"],
    }
    assert answer["usage"]["input_tokens"] == 3  # "be brief" and "x"
    assert re.fullmatch(r"[0-9a-f]{64}", answer["fingerprint"])


def test_without_streaming_the_answer_is_the_same(farm: Farm) -> None:
    assert farm("chat", "-m", "scripted:count-3", "--no-stream", "x").out == "word0 word1 word2\n"


@pytest.mark.parametrize("option", ["--stream", "--no-stream"])
@pytest.mark.parametrize("script", ["fail-2", "truncate-2"])
def test_a_failing_model_leaves_what_it_said_and_one_line(farm: Farm, script: str, option: str) -> None:
    code, out, err = farm("chat", "-m", f"scripted:{script}", option, "x")
    assert (code, out) == (1, "word0 word1\n")
    assert re.fullmatch(r"error: .*\n", err)


def test_a_partial_answer_in_json_says_so(farm: Farm) -> None:
    code, out, err = farm("chat", "-m", "scripted:fail-2", "--json", "x")
    answer = json.loads(out)
    assert (code, answer["text"], answer["finish_reason"]) == (1, "word0 word1", "error")
    assert err.startswith("error: ")


def test_the_footer_comes_when_asked_for(farm: Farm) -> None:
    asked = farm("chat", "-m", "scripted:count-3", "--footer", "x")
    assert asked.out == "word0 word1 word2\n"
    assert re.fullmatch(r"scripted:count-3 · 3 tokens · .*\n", asked.err)


def test_a_terminal_gets_the_footer_but_no_control_characters(own_cache: Path) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    prompt = "a \x1b]0;title\x07 b"
    command = ("chat", "-m", "scripted:echo", prompt)
    with start(*command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        process.wait(WAIT_S)
        screen = os.read(ours, 4096).decode()
    os.close(ours)
    assert "a \ufffd]0;title\ufffd b\r\n" in screen
    assert "scripted:echo · 3 tokens" in screen


def test_a_pipe_gets_the_answer_as_it_is(farm: Farm) -> None:
    assert farm("chat", "-m", "scripted:echo", "a \x1b[1m b\u2028").out.startswith("a \x1b[1m b")


@pytest.mark.model
def test_the_embedded_model_knows_the_capital_of_france(embedded_model: str) -> None:
    # The system message is for the model's sake: on the bare question it falls into French, for ever.
    options = ("-m", embedded_model, "-s", "Answer in English.", "-t", "0", "--max-tokens", "40")
    with start("chat", "What is the capital of France?", "--json", *options) as process:
        out, err = process.communicate(timeout=WAIT_S)
    answer = json.loads(out)
    assert (process.returncode, err) == (0, b"")
    assert "Paris" in answer["text"]
    assert answer["digest"] == MODEL.sha256


@pytest.mark.model
def test_ctrl_c_leaves_no_model_process_behind(embedded_model: str) -> None:
    with start("chat", "Tell a long story.", "-m", embedded_model, "-t", "0") as process:
        assert process.stdout
        first = process.stdout.read(1)
        children = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=WAIT_S)
    assert first
    assert process.returncode == 130
    assert children
    _, left = psutil.wait_procs(children, timeout=WAIT_S)
    assert not left


# Errors


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["chat", "-m", "scripted:echo"], 2, "The prompt is empty"),
        (["chat", "-m", "scripted:echo", "a\udcff"], 2, "not valid text"),
        (["chat", "-m", "scripted:nope", "x"], 2, "No script is called 'nope'"),
        (["chat", "-m", "nope", "x"], 2, "No model named 'nope'"),
        (["chat", "-m", "scripted:echo", "-t", "-1", "x"], 2, "temperature=-1.0"),
        (["pull", "nope"], 2, "No model named 'nope'"),
        (["chat", "--nope"], 2, "No such option"),
        (["chat", "-t", "warm", "x"], 2, "Invalid value"),
    ],
)
def test_a_wrong_request_ends_with_2(farm: Farm, arguments: Sequence[str], code: int, says: str) -> None:
    outcome = farm(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("FARM_OFFLINE", "maybe", "FARM_OFFLINE='maybe'"),
        ("FARM_MODEL", "nope:x", "No provider is called 'nope'"),
    ],
)
def test_a_wrong_setting_ends_with_2(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    code, out, err = farm("chat", "x")
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"error: .*{re.escape(says)}.*\n", err)


def test_stdin_that_is_not_text_is_refused(farm: Farm) -> None:
    code, out, err = farm("chat", "-m", "scripted:echo", stdin=b"ab\xff")
    assert (code, out) == (2, "")
    assert "byte 0xff at 2" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_line(own_cache: Path) -> None:
    with open("/dev/full", "wb") as full, start("chat", "-m", "scripted:echo", "x", stdout=full) as process:
        _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert re.fullmatch(r"error: .*No space left.*\n", err.decode())


# farm models, farm pull


def pretend_fetched(cache: Path) -> Path:
    """A file of the right name and size, without its contents."""
    path = cache / "models" / MODEL.filename
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(MODEL.size_bytes)
    return path


def test_models_says_what_is_here(farm: Farm, own_cache: Path) -> None:
    assert re.search(rf"{REF} .*not fetched .*{re.escape(MODEL.license)}", farm("models").out)
    pretend_fetched(own_cache)
    assert re.search(rf"{REF} +98\.4 MB +8,192 +fetched ", farm("models").out)


def test_models_as_json(farm: Farm) -> None:
    infos = {info["ref"]: info for info in json.loads(farm("models", "--json").out)}
    assert infos[REF]["size_bytes"] == MODEL.size_bytes
    assert infos[REF]["digest"] == MODEL.sha256
    assert infos[REF]["available"] is False


def test_pull_says_what_is_here_already(farm: Farm, own_cache: Path) -> None:
    path = pretend_fetched(own_cache)
    code, out, err = farm("pull", MODEL.name)
    assert (code, err) == (0, "")
    assert out == f"{REF} is already here (98.4 MB): {path}\n"
    local = farm("pull", str(path))
    assert local.code == 0
    assert "is already here" in local.out


def test_pull_fetches_and_says_where_to(farm: Farm, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetch(*_: object) -> AsyncGenerator[LoadProgress, None]:
        yield LoadProgress("fetch", 1, 2)
        yield LoadProgress("verify", 2, 2)
        pretend_fetched(own_cache)

    monkeypatch.setattr(llamacpp, "fetch", fetch)
    code, out, err = farm("pull", REF)
    assert (code, err) == (0, "")
    assert out.startswith(f"{REF} fetched")
    assert str(own_cache / "models" / MODEL.filename) in out


def test_pull_that_cannot_fetch_ends_with_1(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_OFFLINE", "1")
    code, out, err = farm("pull", MODEL.name)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"error: .*FARM_OFFLINE.*\n", err)


# farm doctor


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the packages, which take a process each to look at."""
    monkeypatch.setattr(checks, "PACKAGES", ())


def lines_of(outcome: Outcome, what: str) -> list[str]:
    return [line for line in outcome.out.splitlines() if line[2:].startswith(f"{what} ")]


def test_doctor_is_content_with_this_machine(farm: Farm) -> None:
    outcome = farm("doctor")
    assert (outcome.code, outcome.err) == (0, "")
    for package in checks.PACKAGES:
        assert lines_of(outcome, package.name) == [f"✓ {package.name:<14} {metadata.version(package.name)}"]
    (line,) = lines_of(outcome, "default model")
    assert line.startswith("!")
    assert f"fix: farm pull {REF}" in line


def test_doctor_asks_for_the_versions_that_the_package_requires() -> None:
    required = metadata.requires("farm-notebook") or []
    for package in checks.PACKAGES:
        assert any(line.startswith(package.requirement) for line in required), package.requirement


@pytest.mark.parametrize(
    ("name", "version", "code", "sign"),
    [("ipykernel", "7.3.9", 0, "!"), ("ipykernel", None, 0, "!"), ("xllamacpp", None, 1, "✗")],
)
def test_doctor_tells_what_is_missing_or_too_old_and_how_to_get_it(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, name: str, version: str | None, code: int, sign: str
) -> None:
    (package,) = (known for known in checks.PACKAGES if known.name == name)

    def version_of(asked: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(asked)
        return version

    monkeypatch.setattr(checks, "PACKAGES", (package,))
    monkeypatch.setattr(metadata, "version", version_of)
    outcome = farm("doctor")
    (line,) = lines_of(outcome, name)
    assert outcome.code == code
    assert line.startswith(sign)
    assert package.loss in line
    assert line.endswith(f'fix: pip install "{package.requirement}"')


def test_doctor_notices_a_package_that_does_not_load(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = checks.Package("no_such_module", (1,), "nothing", is_needed=True)
    monkeypatch.setattr(checks, "PACKAGES", (broken,))
    monkeypatch.setattr(metadata, "version", lambda _: "1.0")
    outcome = farm("doctor")
    (line,) = lines_of(outcome, "no_such_module")
    assert outcome.code == 1
    assert "No module named 'no_such_module'" in line


@pytest.mark.usefixtures("no_packages")
def test_doctor_names_a_cache_folder_that_cannot_be_written(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FARM_CACHE_DIR", str(tmp_path / "file" / "cache"))
    outcome = farm("doctor")
    (line,) = lines_of(outcome, "cache")
    assert outcome.code == 1
    assert line.startswith("✗")
    assert "fix: set FARM_CACHE_DIR" in line


@pytest.mark.usefixtures("no_packages")
@pytest.mark.parametrize(
    ("name", "value", "what", "says"),
    [
        ("FARM_OFFLINE", "maybe", "settings", "FARM_OFFLINE='maybe' is not valid"),
        ("FARM_OFFLINE", "1", "default model", "not fetched (98.4 MB), and FARM_OFFLINE is set"),
        ("FARM_MODEL", "nope:x", "default model", "No provider is called 'nope'"),
        ("FARM_MODEL", "llamacpp:nope", "default model", "neither a known model nor a file"),
    ],
)
def test_doctor_fails_where_no_question_could_be_answered(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, name: str, value: str, what: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    outcome = farm("doctor")
    assert outcome.code == 1
    line = lines_of(outcome, what)[-1]
    assert line.startswith("✗")
    assert says in line
    assert "fix: " in line


@pytest.mark.usefixtures("no_packages")
def test_doctor_shows_no_variable_s_value_and_names_a_misspelt_one(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FARM_API_KEY", "FARM_CACHEDIR", "HF_TOKEN"):
        monkeypatch.setenv(name, "s3cret")
    outcome = farm("doctor")
    assert outcome.code == 0
    assert "s3cret" not in outcome.out + outcome.err
    assert "FARM_CACHEDIR sets nothing  fix: rename it to FARM_CACHE_DIR" in outcome.out


@pytest.mark.usefixtures("no_packages")
@pytest.mark.parametrize(("script", "code", "sign"), [("count", 0, "✓"), ("fail-0", 1, "✗")])
def test_doctor_deep_asks_the_default_model(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, script: str, code: int, sign: str
) -> None:
    monkeypatch.setenv("FARM_MODEL", f"scripted:{script}")
    assert not lines_of(farm("doctor"), "answer")
    outcome = farm("doctor", "--deep")
    (line,) = lines_of(outcome, "answer")
    assert (outcome.code, line[0]) == (code, sign)


# The command itself


def test_the_version(farm: Farm) -> None:
    assert farm("--version") == (0, f"farm-notebook {metadata.version('farm-notebook')}\n", "")


def test_it_runs_as_a_module_too() -> None:
    command = [sys.executable, "-m", "farm_notebook.cli", "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=WAIT_S)
    assert done.stdout.startswith("farm-notebook ")


def test_loading_the_command_loads_nothing_heavy() -> None:
    code = "import sys, farm_notebook.cli.app; print([m for m in ('httpx2', 'pydantic') if m in sys.modules])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=WAIT_S)
    assert done.stdout == "[]\n"


# farm cache


def test_an_answer_is_kept_from_one_process_to_the_next(own_cache: Path) -> None:
    command = ("chat", "-m", "scripted:count-3", "-t", "0", "--json", "x")
    answers = []
    for options in ((), (), ("--no-cache",), ("--refresh",), ()):
        with start(*command, *options) as process:
            out, err = process.communicate(timeout=WAIT_S)
        assert err == b""
        answers.append(json.loads(out))
    assert [answer["cached"] for answer in answers] == [False, True, False, False, True]
    assert len({answer["text"] for answer in answers}) == 1
    assert {answer["usage"]["output_tokens"] for answer in answers} == {3}


def test_what_is_kept_can_be_seen_and_forgotten(farm: Farm, own_cache: Path) -> None:
    farm("chat", "-m", "scripted:echo", "-t", "0", "one")
    farm("chat", "-m", "scripted:echo", "-t", "0", "one")
    code, out, err = farm("cache", "stats")
    assert (code, err) == (0, "")
    assert re.search(r"^answers +1\b", out, re.M)
    assert str(own_cache / "answers-1.sqlite") in out
    stats = json.loads(farm("cache", "stats", "--json").out)
    assert (stats["enabled"], stats["entries"]) == (True, 1)
    assert farm("cache", "clear") == (0, "1 answer forgotten\n", "")
    assert farm("cache", "clear") == (0, "0 answers forgotten\n", "")
    assert json.loads(farm("cache", "stats", "--json").out)["entries"] == 0


def test_a_cache_that_cannot_be_used_is_one_clear_line(farm: Farm, own_cache: Path) -> None:
    own_cache.write_text("a file in the way")
    for command in ("stats", "clear"):
        code, out, err = farm("cache", command)
        assert (code, out) == (1, "")
        assert len(err.splitlines()) == 1
        assert "cache" in err


def test_an_answer_cannot_be_kept_and_not_kept(farm: Farm) -> None:
    code, out, err = farm("chat", "-m", "scripted:echo", "--no-cache", "--refresh", "x")
    assert (code, out) == (2, "")
    assert "--no-cache" in err
    assert "--refresh" in err
