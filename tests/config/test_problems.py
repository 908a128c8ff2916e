"""What is wrong is named with its file, key, value and what is valid; what may be a key is not shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from farm_notebook.config import FarmConfig, load_config
from farm_notebook.config.load import find_problems, find_warnings
from farm_notebook.config.masking import masked, may_be_secret, without_keys
from farm_notebook.errors import ConfigError

KEY = "sk-do-not-show-this-0123456789"


def message() -> str:
    with pytest.raises(ConfigError) as caught:
        load_config()
    return str(caught.value)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("offline = 'perhaps'", "offline='perhaps' is not valid: Input should be a valid boolean"),
        ("[cache]\nttl_s = 0", "cache.ttl_s=0 is not valid: Input should be greater than 0"),
        ("[openai]\napi = 'grpc'", "openai.api='grpc' is not valid: Input should be 'chat' or 'responses'"),
        ("cache = 3", "cache=3 is not valid: it takes a table"),
        ("aliases = ['a']", "aliases=['a'] is not valid: it takes a table"),
        ("fallback.chain = 'a'", "fallback.chain='a' is not valid: it takes a list"),
        ("fallback.chain = ['a', 3]", "fallback.chain.1=3 is not valid: Input should be a valid string"),
        (
            "modell = 'x'",
            "modell='x' is not valid: there is no setting 'modell'. Did you mean 'model'? Valid",
        ),
        ("[cach]\nttl_s = 1", "there is no setting 'cach'. Did you mean 'cache'?"),
        ("[cache]\nttl = 1", "there is no setting 'ttl'. Did you mean 'ttl_s'? Valid settings: enabled, max"),
        ("[endpoints.x]\napi = 'chat'", "endpoints.x.base_url is not valid: Field required"),
        ("[aliases]\n'a b' = 'x'", "aliases.\"a b\"='a b' is not valid: a name has letters"),
        ("[aliases.a]\nbalance = 'weighted'", "an alias has either a model or deployments"),
        ("[aliases.a]\nmodel = 'x'\nneeds = ['sight']", "aliases.a.needs.0='sight' is not valid"),
    ],
)
@pytest.mark.parametrize("name", ["farm.toml", "user"])
def test_a_bad_setting_of_a_file_is_named(
    name: str, toml: str, said: str, project: Path, user_file: Path
) -> None:
    path = user_file if name == "user" else project / name
    path.write_text(toml + "\n")
    assert message().startswith(f"{path}: ")
    assert said in message()


def test_a_bad_setting_of_a_pyproject_is_named_with_its_table(project: Path) -> None:
    path = project / "pyproject.toml"
    path.write_text("[tool.farm.cache]\nttl_s = 0\n")
    assert message().startswith(f"{path}: tool.farm.cache.ttl_s=0 is not valid")


def test_a_bad_variable_of_a_dotenv_file_is_named(project: Path) -> None:
    path = project / ".env"
    path.write_text('FARM_CACHE__TTL_S=-1\nAI_RATE_LIMIT=many\nFARM_RETRY={"attempts": 99}\n')
    assert f"{path}: FARM_CACHE__TTL_S='-1' is not valid" in message()
    assert f"{path}: AI_RATE_LIMIT='many' is not valid" in message()
    assert f"{path}: FARM_RETRY: attempts=99 is not valid" in message()


def test_a_bad_value_that_a_stronger_source_overrules_is_no_error(project: Path) -> None:
    (project / "farm.toml").write_text("[cache]\nttl_s = 0\n")
    (project / ".env").write_text("FARM_CACHE__TTL_S=1\n")
    assert load_config().cache.ttl_s == 1


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("a = 1\nb =\n", "at line 2"),
        ("a = 1\n[x\n", "line 2"),
        ("a = 'open", "in line 1"),
        ("a = 1\na = 2\n", "line 2"),
    ],
)
@pytest.mark.parametrize("name", ["farm.toml", "pyproject.toml"])
def test_broken_toml_is_named_with_its_line(name: str, toml: str, line: str, project: Path) -> None:
    path = project / name
    path.write_text(("# farm\n" if name == "pyproject.toml" else "") + toml)
    line = line.replace("2", "3").replace("1", "2") if name == "pyproject.toml" else line
    assert message().startswith(f"{path} is not valid TOML: ")
    assert line in message()


def test_what_is_no_text_is_named_with_its_line(project: Path) -> None:
    for name in ("farm.toml", ".env"):
        (project / name).write_bytes(b"a = 1\n\xff\xfe = 2\n")
        assert f"{project / name} is not UTF-8 text: byte 0xff in line 2." in message()
        (project / name).unlink()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(project: Path) -> None:
    (project / "farm.toml").touch(mode=0)
    assert f"{project / 'farm.toml'} cannot be read: Permission denied" in message()


def test_all_problems_of_all_sources_are_told_at_once(
    project: Path, user_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "farm.toml").write_text("broken")
    user_file.write_text("[cache]\nttl_s = 0\n")
    (project / ".env").write_text("FARM_OFFLINE maybe\n")
    monkeypatch.setenv("FARM_DISPLAY__REPAINT_S", "99")
    problems = find_problems()
    assert len(problems) == 4
    for part in (
        f"{project / 'farm.toml'} ",
        f"{user_file}: cache.ttl_s=0",
        "line 1: ",
        "FARM_DISPLAY__REPAINT_S='99'",
    ):
        assert any(part in problem for problem in problems)
    assert all(problem in message() for problem in problems)


def test_a_line_of_a_dotenv_file_that_is_no_binding_matters_only_if_it_is_about_us(project: Path) -> None:
    path = project / ".env"
    path.write_text(f"SOMETHING {KEY}\nA=1\n")
    assert load_config() == FarmConfig()
    assert find_warnings() == [f"{path}, line 1: it is no binding."]
    path.write_text(f"A=1\nOPENAI_API_KEY {KEY}\n")
    assert (
        message()
        == f"{path}, line 2: it begins with OPENAI_API_KEY and is no binding; write OPENAI_API_KEY=VALUE."
    )


def test_names_that_set_nothing_are_warned_of(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_MODLE", "x")
    monkeypatch.setenv("FARM_ENV", "development")
    monkeypatch.setenv("FARM_BLOCK_REQUESTS", "1")
    (project / ".env").write_text("FARM_CACHEDIR=x\nOTHER=y\n")
    (project / "farm.toml").touch()
    (project / "pyproject.toml").write_text("[tool.farm]\n")
    assert find_warnings() == [
        "FARM_MODLE sets nothing. Did you mean FARM_MODEL?",
        f"{project / '.env'}: FARM_CACHEDIR sets nothing. Did you mean FARM_CACHE_DIR?",
        f"{project / 'pyproject.toml'} is not read: a farm.toml stands beside it.",
    ]


def test_a_key_in_a_header_is_warned_of_and_not_quoted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project / "farm.toml"
    path.write_text(
        f"[openai.headers]\nx-team = 'maths'\nAuthorization = 'team 7'\nx-more = 'Bearer {KEY}'\n"
        "[endpoints.groq]\nbase_url = 'https://groq.test/v1'\nquery = { api-version = '1', code = '"
        f"{KEY}' }}\n"
    )
    monkeypatch.setenv("FARM_ENDPOINTS__GROQ__HEADERS", '{"x-access-token": "t"}')
    warnings = find_warnings()
    assert [warning.partition(": that looks like a key")[0] for warning in warnings] == [
        "FARM_ENDPOINTS__GROQ__HEADERS: x-access-token",
        f"{path}: openai.headers.Authorization",
        f"{path}: openai.headers.x-more",
        f"{path}: endpoints.groq.query.code",
    ]
    assert all("api_key_env" in warning for warning in warnings)
    assert KEY not in " ".join(warnings)


def test_headers_of_the_wrong_kind_are_no_matter_of_warnings(project: Path) -> None:
    (project / "farm.toml").write_text("openai = 'x'\n[endpoints]\ngroq = 3\nvllm = { headers = 'x' }\n")
    assert find_warnings() == []


def test_json_that_is_broken_is_told_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_RETRY", '{"attempts": 3,}')
    assert "it takes a JSON object, and this is none (" in message()
    assert "FARM_RETRY__ATTEMPTS" in message()


# Secrets


@pytest.mark.parametrize(
    "toml",
    [
        f"openai = '{KEY}'",
        f"model = ['{KEY}']",
        f"api_key = '{KEY}'",
        f"[openai]\napi_key = '{KEY}'",
        f"[openai]\napi_key_env = '{KEY}'",
        f"[openai]\nheaders = '{KEY}'",
        f"[openai.headers]\nx = ['{KEY}']",
        f"[endpoints.x.headers]\nx = '{KEY}'",
        f"[endpoints.x]\nquery.key = '{KEY}'",
        "[endpoints.x]\nbase_url = 'https://me:do-not-show@x/v1'",
        "[redis]\nurl = 'redis://me:do-not-show@x'",
        "[redis]\npassword = 'do-not-show'",
        f"[aliases.a]\nextra = '{KEY}'",
        f"[huggingface]\ntoken = '{KEY}'",
    ],
)
def test_no_message_shows_what_may_be_a_key(toml: str, project: Path) -> None:
    (project / "farm.toml").write_text(toml + "\n")
    assert str(project / "farm.toml") in message()
    assert "do-not-show" not in message()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model", "llamacpp:smollm2:135m"),
        ("model", "huggingface:meta-llama/Llama-3.2-1B-Instruct-abliterated-Q4-K-M-2024"),
        ("model", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M"),
        ("openai.api_key_env", "OPENAI_API_KEY"),
        ("openai.api_key_header", "api-key"),
        ("redis.password_env", "REDIS_PASSWORD"),
        ("redis.url", "redis://localhost:6379/0"),
        ("llamacpp.max_tokens", 2048),
        ("limits.tokens_per_minute", "many"),
        ("ollama.keep_alive", "5m"),
        ("huggingface.revision", "0123456789abcdef0123456789abcdef01234567"),
        ("cache_dir", "/home/somebody/.cache/farm-notebook"),
        ("ollama.url", "http://localhost:11434"),
    ],
)
def test_what_is_no_secret_is_shown(path: str, value: object) -> None:
    assert not may_be_secret(path.split("."), value)


def test_masking_goes_into_mappings_and_lists() -> None:
    shown = masked(("openai",), {"headers": {"x": "y"}, "api": "chat", "list": ["a", KEY]})
    assert shown == {"headers": {"x": "***"}, "api": "chat", "list": ["a", "***"]}
    assert without_keys(f"cannot read {KEY} of https://a:b@c") == "cannot read *** of https://***@c"
