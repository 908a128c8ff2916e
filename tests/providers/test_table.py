"""Providers come built in, from settings, from packages and from cells; none of these breaks another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from subjects.example import install_example
from werkzeug import Request, Response

import farm_notebook
from farm_notebook import providers
from farm_notebook.config import FarmConfig, load_config
from farm_notebook.errors import (
    ConfigError,
    MissingExtraError,
    ModelNotFoundError,
    ProviderConnectionError,
    UnknownProviderError,
)
from farm_notebook.farm import Farm
from farm_notebook.providers import (
    is_enabled,
    is_provider,
    make_provider,
    provider_names,
    register_provider,
)
from farm_notebook.providers.base import AIProvider
from farm_notebook.providers.packages import installed
from farm_notebook.providers.scripted import ScriptedProvider

GUIDE = Path(providers.__file__).with_name("ADDING_A_PROVIDER.md")
HELPFUL = '''"""A provider in a package."""
from farm_notebook.providers.scripted import ScriptedProvider

class Helpful(ScriptedProvider):
    name = "helpful"
    is_listed = True
'''


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[AIProvider]]:
    """What a test registers goes with it."""
    table: dict[str, type[AIProvider]] = {}
    monkeypatch.setattr(providers, "_registered", table)
    return table


@pytest.fixture
def config(tmp_path: Path) -> FarmConfig:
    """Settings that no other test has, since farms with equal ones share their providers."""
    return load_config({"model": "scripted:echo", "cache_dir": tmp_path})


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A function that puts a package into a folder of ``sys.path``, as pip would lay it down."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = set(sys.modules)

    def put(package: str, entry_point: str, **files: str) -> None:
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[farm_notebook.providers]\n{entry_point}\n")
        for module, text in files.items():
            (tmp_path / f"{module}.py").write_text(text)

    yield put
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


# Built in, configured, unknown


@pytest.mark.parametrize("name", ["llamacpp", "ollama", "openai", "scripted"])
def test_a_built_in_provider_has_the_name_of_its_row(name: str, config: FarmConfig) -> None:
    assert make_provider(name, config).name == name


def test_an_endpoint_of_the_settings_is_a_provider_of_its_name() -> None:
    config = load_config({"endpoints": {"near": {"base_url": "http://localhost:1/v1"}}})
    assert is_provider("near", config)
    assert make_provider("near", config).name == "near"
    assert not is_provider("near", load_config())


def test_an_unknown_name_is_quoted_with_the_valid_ones_and_a_guess(config: FarmConfig) -> None:
    with pytest.raises(UnknownProviderError) as caught:
        make_provider("scirpted", config)
    message = str(caught.value)
    assert "'scirpted'" in message
    assert "Did you mean 'scripted'?" in message
    assert all(name in message for name in provider_names(config))


@pytest.mark.parametrize(
    ("settings", "name", "setting", "variable"),
    [
        ({"openai": {"enabled": False}}, "openai", "openai.enabled", "FARM_OPENAI__ENABLED=true"),
        ({"llamacpp": {"enabled": False}}, "llamacpp", "llamacpp.enabled", "FARM_LLAMACPP__ENABLED=true"),
        (
            {"endpoints": {"near": {"base_url": "http://localhost:1/v1", "enabled": False}}},
            "near",
            "endpoints.near.enabled",
            "FARM_ENDPOINTS__NEAR__ENABLED=true",
        ),
    ],
)
def test_a_provider_that_is_switched_off_is_not_listed_and_not_made(
    settings: dict[str, Any], name: str, setting: str, variable: str
) -> None:
    config = load_config({"model": "scripted:echo", **settings})
    assert name not in provider_names(config)
    assert is_provider(name, config), "or its models would be asked of another one"
    assert not is_enabled(name, config)
    with pytest.raises(ConfigError) as caught:
        make_provider(name, config)
    assert [word for word in (repr(name), setting, variable) if word not in str(caught.value)] == []
    assert name not in str(caught.value).partition("another one: ")[2]


def test_a_provider_without_a_section_of_settings_cannot_be_off_by_that_of_something_else() -> None:
    @register_provider
    class Mine(ScriptedProvider):
        name = "cache"

    config = load_config({"model": "scripted:echo", "cache": {"enabled": False}})
    assert is_enabled("cache", config)
    assert is_enabled("scripted", config)
    assert isinstance(make_provider("cache", config), Mine)


def scans(code: str) -> str:
    """Whether a fresh process reads the metadata of installed packages for ``code``."""
    program = (
        "import importlib.metadata as m; asked = []; real = m.entry_points\n"
        "m.entry_points = lambda **k: asked.append(k.get('group')) or real(**k)\n"
        f"{code}\nprint(asked.count('farm_notebook.providers'))"
    )
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("code", "count"),
    [
        (
            "from IPython.core.interactiveshell import InteractiveShell as S\n"
            "S.instance().run_line_magic('load_ext', 'farm_notebook')",
            "0",
        ),
        ("import farm_notebook; farm_notebook.chat('a', model='scripted:echo')", "0"),
        ("from farm_notebook.farm import Farm; Farm().core.request('a', model='./x:y/model.gguf')", "0"),
        (
            "from farm_notebook.farm import Farm; f = Farm()\n"
            "for _ in 'ab': f.core.request('a', model='q:8b')",
            "1",
        ),
    ],
)
def test_installed_packages_are_looked_at_only_for_a_name_that_nothing_else_has(
    code: str, count: str
) -> None:
    assert scans(code) == count


# In a cell


def test_a_class_is_registered_by_its_decorator_and_stays_itself(config: FarmConfig) -> None:
    @farm_notebook.register_provider
    class Mine(ScriptedProvider):
        name = "mine"

    assert isinstance(make_provider("mine", config), Mine)
    assert "mine" in provider_names(config)


def test_a_cell_that_is_run_again_replaces_its_class_in_farms_that_have_used_it() -> None:
    farm = Farm(model="scripted:echo")
    closed: list[str] = []
    for word in ("one", "two"):

        @register_provider
        class Mine(ScriptedProvider):
            name = "mine"
            said = word

            async def list_models(self) -> Any:
                raise ModelNotFoundError(self.said)

            async def unload_model(self, model: str) -> bool:
                raise ModelNotFoundError(self.said)

            async def aclose(self) -> None:
                closed.append(self.said)

        with pytest.raises(ModelNotFoundError, match=word):
            farm.unload("mine:x")
    farm.close()
    assert sorted(closed) == ["one", "two"]


def test_a_registered_class_takes_the_place_of_a_built_in_one(config: FarmConfig) -> None:
    @register_provider
    class Mine(ScriptedProvider):
        name = "scripted"

    assert isinstance(make_provider("scripted", config), Mine)


class Nameless(ScriptedProvider):
    name = None  # type: ignore[assignment]  # that is the point


class Halfway(AIProvider):
    name = "halfway"


class Spaced(ScriptedProvider):
    name = "my provider"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (3, ["3", "no subclass of farm_notebook's AIProvider"]),
        (str, ["<class 'str'>", "no subclass"]),
        (
            Halfway,
            ["Halfway", "does not define embed, health_check, list_models, load_model, stream, unload_model"],
        ),
        (Nameless, ["Nameless", "the name None", "name = 'shout'"]),
        (Spaced, ["the name 'my provider'"]),
    ],
    ids=str,
)
def test_what_cannot_be_a_provider_is_not_registered(
    source: Any, words: list[str], registered: dict[str, type[AIProvider]]
) -> None:
    with pytest.raises(ConfigError) as caught:
        register_provider(source)
    assert [word for word in words if word not in str(caught.value)] == []
    assert registered == {}


# Installed


def test_a_package_installed_into_the_running_process_is_found(
    install: Callable[..., None], config: FarmConfig
) -> None:
    assert not is_provider("helpful", config)
    install("a-package", "helpful = helpful_module:Helpful", helpful_module=HELPFUL)
    assert is_provider("helpful", config)
    assert Farm(config).chat("hello", model="helpful:echo").text == "hello"


BROKEN: list[tuple[str, str, list[str]]] = [
    ("helpful = nowhere:Helpful", "", ["'helpful'", "'a-package'", "does not import", "nowhere"]),
    ("helpful = broken:Helpful", "1 / 0", ["does not import", "ZeroDivisionError", "Update or uninstall"]),
    ("helpful = broken:Other", HELPFUL, ["does not import", "Other"]),
    ("helpful = broken:Helpful", "Helpful = 3", ["'a-package' is 3", "no subclass"]),
    ("helpful = broken:Helpful", "class Helpful: name = 'helpful'", ["no subclass"]),
    (
        "helpful = broken:AIProvider",
        "from farm_notebook.providers.base import AIProvider",
        ["does not define embed, health_check"],
    ),
    ("other = broken:Helpful", HELPFUL, ["'other'", "calls itself 'helpful'", "same name"]),
    (
        "helpful = broken:Helpful",
        HELPFUL + "    def __init__(self): ...\n",
        ["'a-package' cannot be made", "TypeError", "Update or uninstall"],
    ),
]


@pytest.mark.parametrize(
    ("entry_point", "module", "words"), BROKEN, ids=[str(words[-1]) for _, _, words in BROKEN]
)
def test_a_broken_package_is_named_when_it_is_asked_for_and_breaks_nothing_else(
    entry_point: str, module: str, words: list[str], install: Callable[..., None], config: FarmConfig
) -> None:
    install("a-package", entry_point, **({"broken": module} if module else {}))
    name = entry_point.partition(" ")[0]
    farm = Farm(config)
    with pytest.raises(ConfigError) as caught:
        farm.chat("hello", model=f"{name}:echo")
    assert [word for word in words if word not in str(caught.value)] == []
    assert farm.chat("hello").text == "hello"
    status = {status.name: status for status in farm.health()}[name]
    assert (status.healthy, status.detail) == (False, str(caught.value))
    assert all(info.ref.provider != name for info in farm.list_models())


def test_an_error_of_ours_leaves_a_package_as_it_is(install: Callable[..., None], config: FarmConfig) -> None:
    missing = "    def __init__(self, config):\n        raise MissingExtraError('pip install it')\n"
    header = "from farm_notebook.errors import MissingExtraError\n"
    install("a-package", "helpful = helpful_module:Helpful", helpful_module=header + HELPFUL + missing)
    with pytest.raises(MissingExtraError, match=r"^pip install it$"):
        make_provider("helpful", config)


def test_a_package_does_not_take_a_name_that_is_built_in_and_health_says_so(
    install: Callable[..., None], config: FarmConfig
) -> None:
    install("a-package", "scripted = helpful_module:Helpful", helpful_module=HELPFUL)
    assert type(make_provider("scripted", config)) is ScriptedProvider
    status = {status.name: status for status in Farm(config).health()}["scripted"]
    assert not status.healthy
    assert "not used: a-package" in status.detail
    assert status.fix == "pip uninstall a-package"


def test_a_package_does_not_take_the_name_of_an_endpoint(install: Callable[..., None]) -> None:
    install("a-package", "helpful = helpful_module:Helpful", helpful_module=HELPFUL)
    config = load_config({"endpoints": {"helpful": {"base_url": "http://localhost:1/v1"}}})
    assert not isinstance(make_provider("helpful", config), ScriptedProvider)


def test_two_packages_of_one_name_are_an_error_that_names_both(
    install: Callable[..., None], config: FarmConfig
) -> None:
    install("a-package", "helpful = helpful_module:Helpful", helpful_module=HELPFUL)
    install("b-package", "helpful = helpful_module:Helpful")
    with pytest.raises(ConfigError, match=r"each of 'a-package', 'b-package'\. Uninstall all but one"):
        make_provider("helpful", config)


def test_a_folder_of_the_path_that_is_not_there_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("/not/there")
    assert "scripted" not in installed()


# The example and the guide


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shout")
    install_example(folder)
    return folder


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["-m", "farm_notebook.cli", "chat", "-m", "shout:loud", "hello there"], "HELLO THERE"),
        (["-m", "farm_notebook.cli", "chat", "-m", "shout/loud", "hello there"], "HELLO THERE"),
        (["-m", "farm_notebook.cli", "models"], "shout:forever"),
        (
            ["-c", "import farm_notebook as f; print(f.chat('hello', model='shout:loud').footer)"],
            "shout:loud · 1 token",
        ),
    ],
)
def test_the_example_package_is_used_by_its_name_alone(command: list[str], said: str, example: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(example), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def parrot(request: Request) -> Response:
    """The server that the guide's second provider speaks to."""
    assert request.json
    return Response("\n".join([*request.json["text"].split(), "."]))


@pytest.fixture
def guide(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    """The guide's Python, run as it stands; it ends with assertions of its own."""
    httpserver.expect_oneshot_request("/say", method="POST").respond_with_handler(parrot)
    monkeypatch.setenv("PARROT_URL", httpserver.url_for("").rstrip("/"))
    namespace: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", GUIDE.read_text("utf-8"), re.M | re.S):
        exec(compile(block, GUIDE.name, "exec"), namespace)
    httpserver.check()
    return httpserver


def test_the_code_of_the_guide_works(guide: HTTPServer, registered: dict[str, type[AIProvider]]) -> None:
    assert registered.keys() == {"mirror", "parrot"}
    assert len(guide.log) == 1


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (200, "Hello\n", "IncompleteStreamError", "stopped in mid-sentence"),
        (404, "no such bird", "ModelNotFoundError", "parrot:grey: no such bird"),
        (401, "who are you?", "AuthenticationError", "who are you"),
    ],
)
def test_the_guides_http_provider_fails_in_our_terms(
    status: int, body: str, error: str, words: str, guide: HTTPServer
) -> None:
    guide.expect_request("/say").respond_with_data(body, status=status)
    with pytest.raises(getattr(farm_notebook.errors, error), match=words):
        farm_notebook.chat("hello", model="parrot:grey")


def test_a_parrot_that_is_not_there_is_told_with_the_fix(guide: HTTPServer) -> None:
    guide.stop()
    with pytest.raises(ProviderConnectionError, match="Is the parrot awake"):
        farm_notebook.chat("hello", model="parrot:grey")
    guide.start()


def test_the_guide_names_what_there_is() -> None:
    root = Path(providers.__file__).parents[2]
    text = GUIDE.read_text("utf-8")
    named = re.findall(r"`((?:docs|tests|farm_notebook)/[\w./-]+)`", text)
    assert named
    assert [name for name in named if not (root / name).exists()] == []
    assert [
        name for name in re.findall(r"`providers/([\w.]+)`", text) if not (GUIDE.parent / name).exists()
    ] == []
