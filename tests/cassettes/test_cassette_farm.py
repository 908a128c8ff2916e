"""A farm on a cassette: every kind of call is replayed, with nothing of what made it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farm_notebook import providers
from farm_notebook.errors import (
    CassetteError,
    FarmError,
    NotRecordedError,
    QuotaExceededError,
)
from farm_notebook.farm import Farm, taping
from farm_notebook.farm.taping import notebook_file
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import ModelInfo, ModelRef

MODEL = "scripted:count-4"


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    return tmp_path / "story.farm.jsonl"


def farm(mode: str, cassette: Path, **settings: Any) -> Farm:
    made = Farm(model=MODEL, **settings)
    made.use_cassette(mode, cassette)  # type: ignore[arg-type]
    return made


def recorder(cassette: Path, **settings: Any) -> Farm:
    return farm("record", cassette, **settings)


def replayer(cassette: Path, **settings: Any) -> Farm:
    return farm("replay", cassette, **settings)


def everything(farm: Farm) -> Iterator[Any]:
    """What comes of every kind of call."""
    yield farm.chat("Hello", temperature=0.5)
    yield farm.chat("Hello", temperature=0.5)
    yield farm.chat("Think", model="scripted:think-3")
    yield farm.chat("Call", model="scripted:call-named", tools=[named])
    yield farm.chat("Which?", schema={"type": "object", "properties": {"a": {"type": "integer"}}})
    yield farm.run_tools("Call it", model="scripted:call-named", tools=[named])
    yield farm.chat_structured("Which?", schema=dict[str, int])
    yield farm.generate("Once upon")
    yield list(farm.stream("Hello"))
    yield list(farm.events(farm.core.request("Go on")))
    yield farm.compare("Hello", ["scripted:echo", "scripted:count-2"])
    yield farm.embed(["a", "b"])
    yield sorted(farm.list_models(), key=str)
    yield farm.health()
    yield farm.route()
    yield farm.route("scripted:echo")
    yield list(farm.models.load())
    yield farm.models.loaded()
    yield farm.models.unload()
    yield farm.models.unload_all()
    yield farm.models.free(())
    for model in ("scripted:error-quota-3", "scripted:fail-2", "scripted:truncate-2"):
        try:
            farm.chat("Fail", model=model)
        except FarmError as error:
            yield type(error), str(error), vars(error)


def named(name: str) -> str:
    """Say a name."""
    return f"It is {name}."


def test_models_that_are_compared_took_as_long_as_when_they_were_recorded(cassette: Path) -> None:
    models = ["scripted:fail-2", "scripted:count-2"]  # the first breaks after two words
    recorded, replayed = (
        make(cassette).compare("Hi", models=models, extra={"delay_s": 0.05}) for make in (recorder, replayer)
    )
    assert replayed.plain() == recorded.plain()
    for before, after in zip(recorded, replayed, strict=True):
        assert before.reply is not None
        assert after.reply is not None
        assert after.reply.timings == before.reply.timings
        assert after.reply.timings.first_token_s is not None
        assert 0.045 < after.reply.timings.first_token_s < after.reply.timings.total_s  # of whole ms


def test_all_calls_give_again_what_they_gave(cassette: Path) -> None:
    live = [*everything(recorder(cassette))]
    before = cassette.read_bytes()
    again = [*everything(replayer(cassette))]
    for one, other in zip(live, again, strict=True):
        assert other == one
        assert getattr(other, "footer", "") == getattr(one, "footer", "")
    assert cassette.read_bytes() == before


def test_replaying_twice_is_the_same(cassette: Path) -> None:
    [*everything(recorder(cassette))]
    assert [*everything(replayer(cassette))] == [*everything(replayer(cassette))]


def test_all_of_a_notebook_is_asked_for_when_it_has_run(cassette: Path) -> None:
    [*everything(recorder(cassette))]
    farm = Farm(model=MODEL)
    farm.use_cassette("replay", cassette, strict=True)
    farm.chat("Hello", temperature=0.5)
    with pytest.raises(CassetteError, match=r"calls were never asked for, in story\.farm\.jsonl:") as caught:
        farm.use_cassette("off")
    assert "chat scripted:call-named 'Call'" in str(caught.value)
    farm.use_cassette("replay", cassette, strict=True)
    [*everything(farm)]
    farm.use_cassette("off")


def test_a_kept_answer_is_recorded_as_one(cassette: Path, tmp_path: Path) -> None:
    kept = {"cache": {"enabled": True}, "cache_dir": tmp_path}
    live = recorder(cassette, **kept)
    first, second = (live.chat("Hello", temperature=0) for _ in range(2))
    assert (first.cached, second.cached) == (False, True)
    farm = replayer(cassette)
    assert [farm.chat("Hello", temperature=0) for _ in range(2)] == [first, second]


def test_a_call_that_is_not_recorded_asks_nobody(cassette: Path) -> None:
    recorder(cassette).chat("Hello")
    farm = replayer(cassette)
    with pytest.raises(NotRecordedError, match="Nobody was asked"):
        farm.chat("Hallo")
    with pytest.raises(NotRecordedError, match="No call of the kind 'list_models'"):
        farm.list_models()


def test_what_cannot_be_replayed_fails_loudly(cassette: Path) -> None:
    recorder(cassette).chat("Hello")
    farm = replayer(cassette)
    with pytest.raises(NotRecordedError, match="'scripted' was to be asked"), farm.lease("scripted:echo"):
        pass


def test_a_farm_that_reads_its_settings_anew_goes_on_where_it_was(cassette: Path) -> None:
    live = recorder(cassette)
    said = [live.chat("Hello", model="scripted:sample-5") for _ in range(3)]
    farm = replayer(cassette)
    again = [farm.chat("Hello", model="scripted:sample-5")]
    farm.use("scripted:echo")
    again += [farm.chat("Hello", model="scripted:sample-5") for _ in range(2)]
    assert again == said


def test_two_farms_of_a_program_share_the_takes(cassette: Path) -> None:
    live = recorder(cassette)
    said = [live.chat("Hello", model="scripted:sample-5").text for _ in range(2)]
    settings = {"mode": "replay", "file": cassette}
    replayer(cassette)  # from the beginning
    one, other = Farm(model=MODEL, cassette=settings), Farm(model="scripted:echo", cassette=settings)
    assert [each.chat("Hello", model="scripted:sample-5").text for each in (one, other)] == said


def test_to_replay_again_begins_at_the_beginning(cassette: Path) -> None:
    live = recorder(cassette)
    said = [live.chat("Hello", model="scripted:sample-5").text for _ in range(2)]
    farm = replayer(cassette)
    for _ in range(2):
        farm.use_cassette("replay")
        assert [farm.chat("Hello", model="scripted:sample-5").text for _ in range(2)] == said


def test_off_asks_again(cassette: Path) -> None:
    farm = recorder(cassette)
    farm.chat("Hello")
    farm.use_cassette("replay")
    farm.use_cassette("off")
    assert farm.chat("Something else").text == "word0 word1 word2 word3"
    assert "Something else" not in cassette.read_text()


def test_models_that_are_loaded_stay_so_while_calls_are_replayed(
    cassette: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closing(ScriptedProvider):
        name = "closing"
        closed = 0

        async def aclose(self) -> None:
            Closing.closed += 1

    monkeypatch.setitem(providers._registered, "closing", Closing)
    farm = recorder(cassette, timeouts={"connect_s": 9})  # providers of its own, since it closes them
    farm.chat("Hello", model="closing:echo")
    for mode in ("replay", "off", "record", "replay"):
        farm.use_cassette(mode)
        farm.chat("Hello", model="closing:echo")
    assert Closing.closed == 0
    farm.close()
    assert Closing.closed == 1


def test_a_stream_that_is_left_is_replayed_as_far(cassette: Path) -> None:
    live = recorder(cassette)
    said = []
    for piece in live.stream("Hello", model="scripted:count-50"):
        said.append(piece)
        if len(said) == 3:
            break
    live.chat("Wait until that is written")
    again = []
    for piece in replayer(cassette).stream("Hello", model="scripted:count-50"):
        again.append(piece)
        if len(again) == 3:
            break
    assert again == said


def test_the_environment_alone_is_enough(cassette: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = recorder(cassette).chat("Hello")
    monkeypatch.setenv("FARM_CASSETTE", "replay")
    monkeypatch.setenv("FARM_CASSETTE_FILE", str(cassette))
    replayer(cassette)
    assert Farm(model=MODEL).chat("Hello") == reply


def test_a_failure_has_its_fields(cassette: Path) -> None:
    for opened in (recorder, replayer):
        made = opened(cassette)
        with pytest.raises(QuotaExceededError) as caught:
            made.chat("Fail", model="scripted:error-quota-3")
        assert (caught.value.provider, caught.value.retry_after_s) == ("scripted", 3.0)


def test_the_models_of_a_comparison_are_told_as_they_were(cassette: Path) -> None:
    models = ["scripted:echo", "scripted:count-2"]
    live = recorder(cassette).compare("Hello", models)
    assert replayer(cassette).compare("Hello", models) == live


# Secrets

KEY = "PLANTED-" + "a1B2c3D4e5F6"
PASSWORD = "planted0pass1word2"


def test_no_planted_secret_is_in_any_file(cassette: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", KEY)
    header = "hdr-" + "9f8e7d6c5b4a"
    endpoints = {
        "near": {
            "base_url": "http://127.0.0.1:9/v1",
            "headers": {"x-api-key": header},
            "query": {"token": f"qry-{header}"},
        }
    }
    live = recorder(cassette, endpoints=endpoints, retry={"attempts": 1}, timeouts={"connect_s": 1})
    live.chat(f"My key is {KEY}; keep it.", model="scripted:echo")
    live.chat(f"curl http://user:{PASSWORD}@host/?api_key={PASSWORD}", model="scripted:echo")
    live.chat(f"Header {header} and {KEY[:9]}", model="scripted:echo", system=f"Bearer {PASSWORD}")
    with pytest.raises(FarmError):
        live.chat("Hi", extra={"authorization": PASSWORD, "deep": {"my_token": PASSWORD}})
    live.embed([f"sk-{PASSWORD}{PASSWORD}"])
    with pytest.raises(FarmError):
        live.chat(f"{KEY}", model="near:m")
    with pytest.raises(FarmError):
        live.chat("Hi", model=f"scripted:{KEY}")
    written = cassette.read_text()
    for secret in (KEY, PASSWORD, header):
        assert secret not in written
    assert "***" in written


def test_what_was_asked_with_a_secret_is_found_with_another_or_with_none(
    cassette: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", KEY)
    recorder(cassette).chat(f"My key is {KEY}; keep it.", model="scripted:echo")
    monkeypatch.setenv("SOME_API_KEY", "another-key-0123")
    farm = replayer(cassette)
    for text in (KEY, "another-key-0123", "<the key>"):
        assert (
            farm.chat(f"My key is {text}; keep it.", model="scripted:echo").text == "My key is ***; keep it."
        )
    with pytest.raises(NotRecordedError):
        farm.chat("My key is; keep it.", model="scripted:echo")


# Without anything of what made it

ALONE = """
import importlib.abc, socket, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "openai", "xllamacpp", "redis", "pandas"}:
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Blocked())

def refuse(*args, **kwargs):
    raise AssertionError("somebody used the network")
for name in ("connect", "connect_ex", "sendto", "bind"):
    setattr(socket.socket, name, refuse)
socket.create_connection = socket.getaddrinfo = refuse
import subprocess
subprocess.Popen.__init__ = refuse

import json
from farm_notebook.farm import Farm

farm = Farm(cassette={"mode": "replay", "file": sys.argv[1]})
replies = [
    farm.chat("The capital of France is", model=sys.argv[2], max_tokens=12, temperature=0),
    farm.generate("Once", model=sys.argv[2], max_tokens=5),
]
print(json.dumps([[reply.text, reply.footer, reply.provenance()] for reply in replies]))
print(farm.embed("a text", model=sys.argv[2]).vectors[0][:2])
print([*farm.load(sys.argv[2])])
"""


def alone(*arguments: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FARM_")}
    command = [sys.executable, "-c", ALONE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.model
def test_the_embedded_model_is_replayed_without_it_and_without_a_network(
    embedded_farm: Farm, embedded_model: str, cassette: Path
) -> None:
    farm = recorder(cassette)
    replies = [
        farm.chat("The capital of France is", model=embedded_model, max_tokens=12, temperature=0),
        farm.generate("Once", model=embedded_model, max_tokens=5),
    ]
    vectors = farm.embed("a text", model=embedded_model).vectors
    progress = [*farm.load(embedded_model)]
    told, numbers, last = alone(str(cassette), embedded_model)
    expected = [[reply.text, reply.footer, reply.provenance()] for reply in replies]
    assert json.loads(told) == json.loads(json.dumps(expected))
    assert replies[0].digest
    assert numbers == str(vectors[0][:2])
    assert last == str(progress)


def test_a_provider_that_would_be_made_is_found_out(cassette: Path) -> None:
    """Or the test above would see nothing."""
    recorder(cassette).chat("Hello")
    with pytest.raises(AssertionError, match=r"Not in story\.farm\.jsonl"):
        alone(str(cassette), "llamacpp:smollm2:135m")


# The notebook's name


def test_the_notebook_is_the_one_that_the_server_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a b.ipynb", "shared.ipynb"):
        (tmp_path / name).touch()
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "a b.ipynb"))
    assert notebook_file() == tmp_path / "a b.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "RTC:shared.ipynb"))
    assert notebook_file() == tmp_path / "shared.ipynb"
    for name in ("Console 1", "of before it was renamed.ipynb", ""):
        monkeypatch.setenv("JPY_SESSION_NAME", f"{tmp_path}/{name}")
        assert notebook_file() is None


def test_in_a_script_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert notebook_file() is None


class Program:
    """A process as far as it matters who started a kernel."""

    def __init__(self, folder: Path, line: str) -> None:
        self.folder = folder
        self.words = line.split()

    def environ(self) -> dict[str, str]:
        return {}

    def cwd(self) -> str:
        return str(self.folder)

    def cmdline(self) -> list[str]:
        return self.words


LINES = [
    ("python jupyter-nbconvert --execute a.ipynb", "a.ipynb"),
    ("python jupyter-nbconvert --execute a.ipynb --output b.ipynb", "a.ipynb"),
    ("python jupyter-nbconvert --execute a.ipynb b.ipynb", None),
    ("python papermill a.ipynb b.ipynb -p x 1", "a.ipynb"),
    ("python papermill far.ipynb b.ipynb", None),
    ("python -m pytest --nbval sub/c.ipynb", "sub/c.ipynb"),
    ("python -m pytest --nbval a.ipynb sub/c.ipynb", None),
    ("python run.py", None),
]


@pytest.mark.parametrize(("line", "name"), LINES)
def test_a_notebook_that_is_executed_is_the_one_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, name: str | None
) -> None:
    (tmp_path / "sub").mkdir()
    for each in ("a.ipynb", "b.ipynb", "sub/c.ipynb"):
        (tmp_path / each).touch()
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr(taping, "_runner", lambda: Program(tmp_path, line))
    assert notebook_file() == (None if name is None else tmp_path / name)


# Seeds


def test_the_seed_of_the_settings_is_that_of_requests_that_name_none() -> None:
    made = Farm(model="scripted:sample-6", seed=7)
    assert made.core.request("Hi").seed == 7
    assert made.core.request("Hi", seed=8).seed == 8
    assert made.chat("Hi").text == made.chat("Hi").text
    assert made.chat("Hi").parameters["seed"] == 7


def test_a_provider_that_takes_none_is_asked_without_it() -> None:
    from farm_notebook.providers import takes_seed

    endpoints = {
        "far": {"base_url": "http://x/v1", "lacks": ["seed"]},
        "near": {"base_url": "http://y/v1"},
        "new": {"base_url": "http://y/v1", "api": "responses"},
    }
    made = Farm(model=MODEL, seed=7, endpoints=endpoints)
    seeds = {name: made.core.request("Hi", model=f"{name}:m").seed for name in endpoints}
    assert seeds == {"far": None, "near": 7, "new": None}
    assert [takes_seed(name, made.config) for name in ("far", "near", "new", "scripted")] == [
        *(False, True, False, True)
    ]


class Stocked(ScriptedProvider):
    """Has two files: one below the home, one elsewhere."""

    name = "stocked"
    is_listed = True

    async def list_models(self) -> list[ModelInfo]:
        locations = (str(Path.home() / "models" / "m.gguf"), "/elsewhere/m.gguf")
        return [ModelInfo(ModelRef(self.name, str(n)), location=each) for n, each in enumerate(locations)]


def test_where_a_model_lies_is_recorded_without_the_home_and_replayed_in_that_of_the_reader(
    cassette: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "_registered", {"stocked": Stocked})

    def locations(mode: str) -> list[str | None]:
        return [
            info.location for info in farm(mode, cassette).list_models() if info.ref.provider == "stocked"
        ]

    monkeypatch.setenv("HOME", str(tmp_path / "ada"))
    assert locations("record") == [str(tmp_path / "ada" / "models" / "m.gguf"), "/elsewhere/m.gguf"]
    assert "ada" not in cassette.read_text()
    monkeypatch.setenv("HOME", str(tmp_path / "eve"))
    assert locations("replay") == [str(tmp_path / "eve" / "models" / "m.gguf"), "/elsewhere/m.gguf"]


def test_auto_without_a_notebook_goes_on_without_a_cassette(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text('cassette = "auto"\nmodel = "scripted:echo"\n')
    code = "import farm_notebook as farm; print(farm.chat('hello').text)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "hello"
    assert [path.name for path in tmp_path.iterdir()] == ["farm.toml"]
