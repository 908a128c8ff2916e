"""Where settings are read from, and which source is stronger than which."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.config import FarmConfig, files, load_config
from farm_notebook.config.layers import Layer, Sources
from farm_notebook.config.provenance import explain_settings
from farm_notebook.errors import ConfigError

Setter = Callable[[str], None]


@pytest.fixture
def setters(project: Path, user_file: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Setter]:
    """How each source sets ``model``, weakest first."""

    def writing(path: Path, text: str) -> Setter:
        def write(model: str) -> None:
            path.write_text(text.format(model))

        return write

    return {
        "user": writing(user_file, 'model = "{}"\n'),
        "project": writing(project / "farm.toml", 'model = "{}"\n'),
        ".env": writing(project / ".env", "FARM_MODEL={}\n"),
        ".env.development": writing(project / ".env.development", "FARM_MODEL={}\n"),
        "environment": lambda model: monkeypatch.setenv("FARM_MODEL", model),
    }


def test_each_source_is_stronger_than_the_one_before(setters: dict[str, Setter]) -> None:
    assert load_config().model == FarmConfig().model
    for name, setter in setters.items():
        setter(f"scripted:{name}")
        assert load_config().model == f"scripted:{name}"
    assert load_config({"model": "scripted:argument"}).model == "scripted:argument"


def test_what_a_stronger_source_leaves_out_comes_from_a_weaker_one(
    project: Path, user_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_file.write_text(
        "[cache]\nttl_s = 1\nmax_bytes = 1000001\n[openai.headers]\na = 'user'\nb = 'user'\n"
    )
    (project / "farm.toml").write_text("[cache]\nttl_s = 2\n[openai.headers]\nb = 'project'\n")
    monkeypatch.setenv("FARM_CACHE__ENABLED", "false")
    config = load_config({"cache": {"ttl_s": 3}})
    assert (config.cache.enabled, config.cache.ttl_s, config.cache.max_bytes) == (False, 3, 1000001)
    assert config.openai.headers == {"a": "user", "b": "project"}


TREES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)
MAPPINGS = st.dictionaries(st.sampled_from("abc"), TREES, max_size=3)


def leaf_at(values: Any, path: tuple[str, ...]) -> Any:
    """What stands at a path: a leaf, also one above it; a mapping; or nothing."""
    for key in path:
        if not isinstance(values, Mapping):
            return values
        if key not in values:
            return None
        values = values[key]
    return values


@given(layers=st.lists(MAPPINGS, min_size=1, max_size=4))
def test_of_every_key_the_strongest_layer_that_sets_it_holds(layers: list[dict[str, Any]]) -> None:
    made = tuple(Layer("arguments", values) for values in layers)
    sources = Sources(layers=made, problems=(), environment="development", files=(), dotenvs=())
    merged = sources.merged()

    def check(values: Mapping[str, Any], path: tuple[str, ...]) -> None:
        for key, value in values.items():
            here = (*path, key)
            if isinstance(value, Mapping) and value:
                check(value, here)
            elif not isinstance(value, Mapping):
                origin = sources.origin(here)
                assert origin is not None
                assert leaf_at(origin.values, here) == value

    check(merged, ())
    assert merged.keys() == {key for values in layers for key in values}
    assert Sources(made[:1], (), "development", (), ()).merged() == layers[0]


# Found upward


def test_the_nearest_file_counts_and_those_above_it_do_not(project: Path) -> None:
    (project.parent / "farm.toml").write_text("offline = true\nmodel = 'scripted:home'\n")
    assert load_config().model == "scripted:home"
    (project / "farm.toml").write_text("model = 'scripted:project'\n")
    assert load_config() == FarmConfig(model="scripted:project")
    assert load_config(folder=project.parent).model == "scripted:home"


def test_a_pyproject_counts_only_with_a_table_of_ours(project: Path) -> None:
    (project / "farm.toml").write_text("model = 'scripted:above'\n")
    beside = Path("pyproject.toml")
    beside.write_text("[project]\nname = 'farm'\n")
    assert load_config().model == "scripted:above"
    beside.write_text("[tool.farm]\nmodel = 'scripted:beside'\n[tool.farm.cache]\nttl_s = 5\n")
    assert load_config().model == "scripted:beside"
    assert load_config().cache.ttl_s == 5
    Path("farm.toml").write_text("offline = true\n")
    assert load_config() == FarmConfig(offline=True)
    assert files.find_overruled(Path.cwd()) == beside.resolve()


def test_nothing_is_read_from_above_the_home_folder(home: Path) -> None:
    (home.parent / "farm.toml").write_text("offline = true\n")
    (home.parent / ".env").write_text("FARM_OFFLINE=1\n")
    assert load_config() == FarmConfig()
    (home / ".env").write_text("FARM_OFFLINE=1\n")
    assert load_config().offline


def test_outside_the_home_folder_the_search_ends_at_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "deep" / "deeper"
    folder.mkdir(parents=True)
    (tmp_path / "data" / "farm.toml").write_text("offline = true\n")
    monkeypatch.chdir(folder)
    assert load_config().offline


@pytest.mark.skipif(os.name == "nt", reason="there are no sticky folders")
def test_what_strangers_may_have_put_there_is_not_read(project: Path) -> None:
    (project / "farm.toml").write_text("offline = true\n")
    (project / ".env").write_text("FARM_MODEL=scripted:strange\n")
    project.chmod(0o1777)
    assert load_config() == FarmConfig()
    assert load_config(folder=project).offline, "but where the user has gone himself"


def test_a_folder_of_that_name_is_no_file(project: Path) -> None:
    for name in ("farm.toml", ".env"):
        Path(name).mkdir()
    (project / "farm.toml").write_text("offline = true\n")
    assert load_config().offline


def test_a_working_folder_that_is_gone_has_no_files(user_file: Path) -> None:
    user_file.write_text("offline = true\n")
    Path.cwd().rmdir()
    assert load_config().offline


def test_a_change_on_disk_is_seen_by_the_next_load(project: Path) -> None:
    for path, text in (
        (project / "farm.toml", "cache.ttl_s = {}"),
        (project / ".env", "FARM_CACHE__TTL_S={}"),
    ):
        for ttl_s in (10, 11, 12):  # of one length, and written within one tick of a file system's clock
            path.write_text(text.format(ttl_s))
            assert load_config().cache.ttl_s == ttl_s
        path.unlink()
        assert load_config().cache.ttl_s == 3600


def test_an_old_file_is_parsed_once(project: Path) -> None:
    path = project / "farm.toml"
    path.write_text("model = 'scripted:a'\n")
    os.utime(path, (1, 1))
    assert files.read_toml(path) is files.read_toml(path)
    path.write_text("model = 'scripted:b'\n")
    os.utime(path, (2, 2))
    assert load_config().model == "scripted:b"


# The environment


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("variable", "FARM_ENV"),
        ("variable", "FARM_ENVIRONMENT"),
        (".env", "FARM_ENV=production"),
        (".env", "FARM_ENVIRONMENT=production"),
        ("farm.toml", "environment = 'production'"),
        ("user", "environment = 'production'"),
    ],
)
def test_the_environment_can_be_named_anywhere_and_decides_which_dotenv_file_is_read(
    where: str, text: str, project: Path, user_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".env.production").write_text("FARM_MODEL=scripted:production\n")
    (project / ".env.development").write_text("FARM_MODEL=scripted:development\n")
    if where == "variable":
        monkeypatch.setenv(text, "production")
    else:
        (user_file if where == "user" else project / where).write_text(text + "\n")
    config = load_config()
    assert (config.environment, config.model) == ("production", "scripted:production")
    config = load_config({"environment": "development"})
    assert (config.environment, config.model) == ("development", "scripted:development")


def test_the_environment_of_a_stronger_source_wins(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "farm.toml").write_text("environment = 'from-toml'\n")
    assert load_config().environment == "from-toml"
    (project / ".env").write_text("FARM_ENV=from-dotenv\n")
    assert load_config().environment == "from-dotenv"
    monkeypatch.setenv("FARM_ENV", "from-variable")
    assert load_config().environment == "from-variable"
    monkeypatch.setenv("FARM_ENVIRONMENT", "from-our-own")
    assert load_config().environment == "from-our-own"


def test_the_file_of_an_environment_cannot_name_another(project: Path) -> None:
    path = project / ".env.staging"
    path.write_text("FARM_ENV=staging\nFARM_OFFLINE=1\n")
    assert load_config({"environment": "staging"}).offline
    path.write_text("FARM_ENV=production\n")
    with pytest.raises(ConfigError, match="cannot change it") as caught:
        load_config({"environment": "staging"})
    assert str(path) in str(caught.value)
    assert "'production'" in str(caught.value)


# What contradicts without being the same key


def test_a_model_of_a_stronger_source_takes_the_place_of_routing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "farm.toml").write_text(
        "model = 'scripted:x'\n[routing]\ndevelopment = 'scripted:dev'\nproduction = 'scripted:prod'\n"
    )
    assert load_config().routing == {"development": "scripted:dev", "production": "scripted:prod"}
    assert load_config({"model": "scripted:mine"}).routing == {"production": "scripted:prod"}
    monkeypatch.setenv("AI_DEFAULT_MODEL", "scripted:mine")
    assert load_config().routing == {"production": "scripted:prod"}
    monkeypatch.setenv("FARM_ROUTING__DEVELOPMENT", "scripted:routed")
    assert load_config().routing["development"] == "scripted:routed"


def test_an_alias_is_put_together_key_by_key_however_it_is_written(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "farm.toml").write_text("[aliases]\nfast = 'scripted:a'\n")
    monkeypatch.setenv("FARM_ALIASES__FAST__PARAMETERS__TEMPERATURE", "0")
    alias = load_config().aliases["fast"]
    assert (alias.model, alias.parameters.temperature) == ("scripted:a", 0)
    monkeypatch.setenv("FARM_ALIASES__FAST", "scripted:b")
    alias = load_config().aliases["fast"]
    assert (alias.model, alias.parameters.temperature) == ("scripted:b", 0)


def test_deployments_of_a_stronger_source_take_the_place_of_a_model(project: Path) -> None:
    (project / "farm.toml").write_text("[aliases]\nfast = {model = 'scripted:a', context_tokens = 100}\n")
    several = {"deployments": [{"model": "scripted:b"}, {"model": "scripted:c", "weight": 2}]}
    alias = load_config({"aliases": {"fast": several}}).aliases["fast"]
    assert (alias.model, len(alias.deployments), alias.context_tokens) == (None, 2, 100)


# Variables and dotenv files


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("FARM_FALLBACK__CHAIN", '["a", "b"]', "fallback.chain", ("a", "b")),
        ("FARM_FALLBACK__CHAIN", "a, openai:b", "fallback.chain", ("a", "openai:b")),
        ("FARM_TIMEOUTS__IDLE_S", "none", "timeouts.idle_s", None),
        ("FARM_OPENAI__HEADERS", '{"a": "b"}', "openai.headers", {"a": "b"}),
        ("FARM_OPENAI", '{"api": "responses"}', "openai.api", "responses"),
        ("FARM_HUGGINGFACE__TRUST_REMOTE_CODE", "me/a", "huggingface.trust_remote_code", {"me/a"}),
        ("FARM_HUGGINGFACE__QUANTIZATION", '{"bits": 4}', "huggingface.quantization", {"bits": 4}),
    ],
)
@pytest.mark.parametrize("in_file", [False, True])
def test_a_list_or_mapping_is_written_as_a_text(
    name: str, text: str, path: str, value: Any, in_file: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_file:
        (project / ".env").write_text(f"export {name}='{text}'  # of use\n")
    else:
        monkeypatch.setenv(name, text)
    found: Any = load_config()
    for key in path.split("."):
        found = getattr(found, key)
    assert found == value


def as_text(value: Any) -> str:
    """A setting as one would write it in a variable."""
    if isinstance(value, list | tuple | dict):
        return json.dumps(value)
    return "none" if value is None else str(value)


@pytest.mark.parametrize("in_file", [False, True])
def test_every_setting_can_be_written_as_a_variable(
    in_file: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {
        f"FARM_{origin.key.upper().replace('.', '__')}": as_text(origin.value)
        for origin in explain_settings()
    }
    if in_file:
        (project / ".env").write_text("".join(f"{name}='{text}'\n" for name, text in texts.items()))
    else:
        for name, text in texts.items():
            monkeypatch.setenv(name, text)
    assert load_config() == FarmConfig()
    assert {origin.source for origin in explain_settings()} == {"dotenv" if in_file else "environment"}


def test_a_setting_of_an_entry_of_a_mapping_may_be_a_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_ENDPOINTS__NEAR__BASE_URL", "http://near/v1")
    monkeypatch.setenv("FARM_ENDPOINTS__NEAR__HEADERS", '{"x": "y"}')
    monkeypatch.setenv("FARM_LIMITS__PER__NEAR__CONCURRENCY", "2")
    config = load_config()
    assert config.endpoints["near"].headers == {"x": "y"}
    assert config.limits.per["near"].concurrency == 2


def test_none_is_written_as_a_text_where_a_file_has_no_word_for_it(project: Path) -> None:
    (project / "farm.toml").write_text(
        "[timeouts]\nidle_s = 'none'\n[openai]\napi_key_env = 'none'\n[llamacpp.projectors]\n'a' = 'none'\n"
    )
    config = load_config()
    assert config.timeouts.idle_s is None
    assert config.openai.api_key_env is None
    assert config.llamacpp.projectors == {"a": None}


def test_a_dotenv_file_may_refer_to_other_variables(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".env").write_text("HOST=near\nFARM_OLLAMA__URL=http://${HOST}:${PORT:-1}\n")
    assert load_config().ollama.url == "http://near:1"
    monkeypatch.setenv("HOST", "far")
    assert load_config().ollama.url == "http://far:1"


def test_a_file_with_a_byte_order_mark_is_read(project: Path) -> None:
    (project / ".env").write_bytes(b"\xef\xbb\xbfFARM_OFFLINE=1\r\n")
    (project / "farm.toml").write_bytes(b"\xef\xbb\xbfmodel = 'scripted:x'\r\n")
    assert (load_config().offline, load_config().model) == (True, "scripted:x")


def test_reading_settings_changes_no_variable(project: Path) -> None:
    (project / ".env").write_text("OPENAI_API_KEY=sk-do-not-show-this\nFARM_OFFLINE=1\n")
    before = dict(os.environ)
    config = load_config()
    assert dict(os.environ) == before
    assert "do-not-show" not in repr(config) + config.model_dump_json()
