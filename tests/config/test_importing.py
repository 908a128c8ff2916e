"""A JavaScript configuration of FARM becomes settings; no key is taken over, and what is lost is told."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import psutil
import pytest

from farm_notebook.config import FarmConfig, load_config
from farm_notebook.config.importing import Imported, convert, import_file
from farm_notebook.config.toml import as_document
from farm_notebook.errors import ConfigError

KEY = "sk-do-not-show-this-0123456789"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")

WHOLE = """{
  plugins: [() => null],
  ai: {
    providers: {
      ollama: {
        enabled: true,
        url: process.env.OLLAMA_URL || 'http://near:11434',
        models: ['llama3.2', 'codellama'],
        defaultModel: 'llama3.2',
        autoStart: true,
        autoPull: ['llama3.2'],
      },
      openai: {
        enabled: !!process.env.OPENAI_API_KEY,
        apiKey: process.env.WORK_KEY,
        models: ['gpt-4o', 'gpt-4o-mini'],
        defaultModel: 'gpt-4o-mini',
      },
      huggingface: { enabled: false, apiKey: process.env.HF_TOKEN, models: ['me/tiny'], device: 'cpu' },
    },
    routing: { development: 'ollama', staging: 'huggingface', production: 'openai' },
    features: { streaming: true, caching: false, rateLimiting: { requestsPerMinute: 60 }, fallback: true },
  },
}"""
SETTINGS: dict[str, Any] = {
    "ollama": {
        "enabled": True,
        "url": "http://near:11434",
        "default_model": "llama3.2",
        "auto_start": True,
        "auto_pull": True,
        "pull": ["llama3.2"],
    },
    "openai": {"api_key_env": "WORK_KEY", "default_model": "gpt-4o-mini"},
    "huggingface": {"enabled": False, "device": "cpu", "default_model": "me/tiny"},
    "routing": {"development": "ollama", "staging": "huggingface", "production": "openai"},
    "display": {"live": True},
    "cache": {"enabled": False},
    "limits": {"requests_per_minute": 60},
    "fallback": {"enabled": True},
}


def imported(text: str, name: str = "farm.config.mjs") -> Imported:
    Path(name).write_text(text, "utf-8")
    return import_file(Path(name))


@needs_node
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("farm.config.js", f"export default {WHOLE}"),
        ("farm.config.js", f"module.exports = {WHOLE}"),
        ("farm.config.mjs", f"export default {WHOLE}"),
        ("farm.config.mjs", f"export default Promise.resolve({WHOLE})"),
        ("farm.config.mjs", f"const defineConfig = (of) => of; export default defineConfig(() => ({WHOLE}))"),
        ("farm.config.cjs", f"console.log('noise'); exports.default = async () => ({WHOLE})"),
        (
            "farm.config.cjs",
            f"process.env.OLLAMA_URL = 'x'; delete process.env.WORK_KEY; module.exports = {WHOLE}",
        ),
    ],
)
def test_a_program_becomes_settings_however_it_exports_them(name: str, text: str) -> None:
    found = imported(text, name)
    assert found.values == SETTINGS
    assert tomllib.loads(as_document(found.values)) == SETTINGS
    Path("farm.toml").write_text(as_document(found.values), "utf-8")
    config = load_config()
    assert (config.ollama.auto_start, config.openai.api_key_env) == (True, "WORK_KEY")
    told = "\n".join(found.notes)
    for part in (
        "plugins has no counterpart",
        "ai.providers.ollama.url depends on the variable OLLAMA_URL, and is 'http://near:11434' here",
        "ai.providers.openai.enabled depends on variables, and was left out",
        "ai.providers.openai.models has no counterpart",
        "ai.providers.huggingface.models: the first one, 'me/tiny', became default_model",
        "ai.features.fallback does not say whom to ask",
    ):
        assert part in told
    assert found.warnings == []


@needs_node
def test_no_variable_of_this_environment_reaches_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    found = imported(
        "import {execFileSync} from 'node:child_process';\n"
        "const seen = execFileSync(process.execPath, ['-p', 'JSON.stringify(process.env)']).toString();\n"
        "export default {ai: {routing: {seen, own: JSON.stringify({...process.env}), "
        "direct: process.env.OPENAI_API_KEY}}}"
    )
    assert "do-not-show" not in repr(found)
    assert "OPENAI_API_KEY" not in found.values["routing"]["seen"]
    assert found.values["routing"]["own"] == "{}"
    assert "direct" not in found.values["routing"]


@needs_node
def test_what_is_made_of_variables_is_left_out_wherever_it_stands() -> None:
    found = imported(
        "const e = process.env; export default {ai: {"
        "providers: {ollama: {models: [e.MODEL], autoPull: [e.MODEL, 'x'], url: `http://${e.HOST}:1`}},"
        "routing: {a: `${e.P}:m`, b: {provider: e.P}},"
        "features: {fallback: [e.OTHER], caching: {ttl: e.TTL}}}}"
    )
    assert found.values == {}
    told = "\n".join(found.notes)
    assert all(name in told for name in ("MODEL", "HOST", "P", "OTHER", "TTL"))


@needs_node
def test_a_dotenv_file_that_the_program_reads_is_not_taken_over() -> None:
    Path(".env").write_text(f"OPENAI_API_KEY={KEY}\n")
    found = imported(
        "import {readFileSync} from 'node:fs';\n"
        "process.env.OPENAI_API_KEY = readFileSync('.env').toString().trim().split('=')[1];\n"
        "export default {ai: {providers: {openai: {apiKey: process.env.OPENAI_API_KEY}}}}"
    )
    assert (found.values, found.warnings) == ({}, []), "the usual variable needs no setting"


@needs_node
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "a.mjs",
            "import {defineConfig} from '@farm/config'; export default defineConfig({})",
            "defineConfig",
        ),
        (
            "a.cjs",
            "const {defineConfig} = require('@farm/config'); module.exports = {}",
            "not installed here",
        ),
        ("a.mjs", f"export default {{ai: {{key: '{KEY}' ]", "cannot be evaluated: SyntaxError"),
        ("a.mjs", f"throw new Error('no {KEY}')", "cannot be evaluated: Error: no ***"),
        ("a.mjs", "process.exit(3)", "ended node with exit code 3"),
        ("a.mjs", "export default {plugins: []}", "no object `ai`"),
        ("a.mjs", "export default undefined", "no object `ai`"),
        ("a.ts", "export default {}", "Valid are files in .json, .js, .mjs, .cjs"),
    ],
)
def test_a_program_that_cannot_be_used_is_one_clear_sentence(name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        imported(text, name)
    assert said in str(caught.value)
    assert "do-not-show" not in str(caught.value)


@needs_node
@pytest.mark.parametrize(
    "text",
    ["await new Promise((done) => setTimeout(done, 60_000)); export default {}", "while (true) {}"],
)
def test_a_program_that_does_not_end_is_ended(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm_notebook.config.javascript.TIMEOUT_S", 1.0)
    with pytest.raises(ConfigError, match="did not end within 1 s"):
        imported(text)


@needs_node
@pytest.mark.skipif(sys.platform == "win32", reason="there are no groups of processes")
def test_what_it_has_started_is_ended_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm_notebook.config.javascript.TIMEOUT_S", 2.0)
    started = (
        "import {spawn} from 'node:child_process'; import {writeFileSync} from 'node:fs';"
        "const child = spawn('sleep', ['600'], {stdio: 'inherit'}); writeFileSync('pid', String(child.pid));"
    )
    with pytest.raises(ConfigError, match="did not end within 2 s"):
        imported(f"{started} while (true) {{}}")
    _, alive = psutil.wait_procs(processes(int(Path("pid").read_text())), timeout=30)
    assert not alive


def processes(pid: int) -> list[psutil.Process]:
    """The process of that number, if there is one that is not dead yet."""
    found = [psutil.Process(pid)] if psutil.pid_exists(pid) else []
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


def test_without_node_a_program_is_refused_and_json_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path.cwd()))
    with pytest.raises(ConfigError, match="node, which could run it, is not on the PATH"):
        imported("export default {}")
    assert imported('{"ai": {"routing": {"production": "openai:gpt-4o"}}}', "farm.config.json").values == {
        "routing": {"production": "openai:gpt-4o"}
    }


def test_json_that_is_broken_or_missing_is_named() -> None:
    with pytest.raises(ConfigError, match=r"a\.json cannot be read as JSON: .*line 1"):
        imported("{", "a.json")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        import_file(Path("none.json"))
    with pytest.raises(ConfigError, match=r"There is no file .*none\.mjs"):
        import_file(Path("none.mjs"))


# What becomes of single parts; as JSON, where no node is needed


def converted(**ai: Any) -> Imported:
    whole = json.loads(json.dumps({"ai": ai}))
    found = convert(whole, whole)
    FarmConfig.model_validate(found.values)
    return found


@pytest.mark.parametrize(
    "text", ["process.env.WORK_KEY", "${WORK_KEY}", "$WORK_KEY", "${process.env.WORK_KEY}"]
)
def test_a_variable_written_as_a_text_is_one(text: str) -> None:
    found = converted(providers={"openai": {"apiKey": text}, "ollama": {"apiKey": text}})
    assert found.values == {"openai": {"api_key_env": "WORK_KEY"}, "ollama": {"api_key_env": "WORK_KEY"}}


@pytest.mark.parametrize("provider", ["ollama", "openai", "huggingface"])
def test_a_key_itself_is_warned_of_and_not_written(provider: str) -> None:
    found = converted(providers={provider: {"apiKey": KEY, "url": f"https://me:{KEY}@far/v1"}})
    assert "do-not-show" not in repr(found)
    assert any("farm config set-key" in warning for warning in found.warnings)


def test_a_hub_key_of_another_name_is_warned_of() -> None:
    (warning,) = converted(providers={"huggingface": {"apiKey": "${MY_HUB}"}}).warnings
    assert "MY_HUB" in warning
    assert "HF_TOKEN" in warning


@pytest.mark.parametrize(
    ("features", "values"),
    [
        ({"streaming": False}, {"display": {"live": False}}),
        ({"caching": True}, {"cache": {"enabled": True}}),
        ({"caching": {"enabled": True, "ttl": 60}}, {"cache": {"enabled": True, "ttl_s": 60}}),
        ({"rateLimiting": 30}, {"limits": {"requests_per_minute": 30}}),
        ({"rateLimiting": False}, {}),
        ({"rateLimiting": True}, {}),
        ({"fallback": False}, {"fallback": {"enabled": False}}),
        ({"fallback": "openai"}, {"fallback": {"chain": ["openai"]}}),
        ({"fallback": ["ollama", "openai:x"]}, {"fallback": {"chain": ["ollama", "openai:x"]}}),
        ({"streaming": "sometimes", "telepathy": True}, {}),
    ],
)
def test_a_feature_becomes_the_setting_that_does_it(features: Any, values: Any) -> None:
    found = converted(features=features)
    assert found.values == values
    if not values and features != {"rateLimiting": False}:
        assert len(found.notes) == len(features)


def test_what_is_not_valid_is_left_out_and_told() -> None:
    found = converted(providers={"openai": {"url": "near"}, "ollama": {"autoPull": [1], "enabled": True}})
    assert found.values == {"ollama": {"enabled": True, "auto_pull": True}}
    assert any(note.startswith("openai.base_url was left out") for note in found.notes)
    assert any(note.startswith("ollama.pull was left out") for note in found.notes)


@pytest.mark.parametrize(
    ("target", "model"),
    [
        ("openai", "openai"),
        ("openai:gpt-4o", "openai:gpt-4o"),
        ({"provider": "openai", "model": "x"}, "openai:x"),
    ],
)
def test_a_route_names_a_provider_or_a_model(target: Any, model: str) -> None:
    assert converted(routing={"production": target}).values == {"routing": {"production": model}}


def test_what_is_mistyped_is_told_with_what_was_meant() -> None:
    found = converted(providers={"olama": {"enabled": True}})
    assert found.notes[0].startswith("ai.providers.olama has no counterpart. Did you mean 'ollama'?")


@pytest.mark.parametrize(("key", "value"), [("enabled", "yes"), ("autoStart", 1), ("enabled", ["llama3.2"])])
def test_what_is_neither_true_nor_false_is_left_out_and_quoted(key: str, value: Any) -> None:
    found = converted(providers={"ollama": {key: value, "defaultModel": "x"}})
    assert found.values == {"ollama": {"default_model": "x"}}
    assert found.notes == [
        f"ai.providers.ollama.{key} is {value!r}, which is neither true nor false, and was left out."
    ]


def test_a_feature_that_is_neither_on_nor_off_is_left_out_and_quoted() -> None:
    (note,) = converted(features={"caching": "on"}).notes
    assert note == "ai.features.caching is 'on', which is neither true nor false, and was left out."


def test_what_has_no_counterpart_is_listed() -> None:
    found = converted(
        providers={"anthropic": {"enabled": True}, "ollama": {"gpu": True}}, routing={"a": 3}, agents={}
    )
    assert found.values == {}
    assert len(found.notes) == 4


@needs_node
def test_a_program_may_import_what_lies_beside_it() -> None:
    folder = Path("deep")
    folder.mkdir()
    (folder / "models.mjs").write_text("export const model = 'ollama:x'")
    path = folder / "farm.config.mjs"
    path.write_text(
        "import {model} from './models.mjs'; export default {ai: {routing: {development: model}}}"
    )
    before = dict(os.environ)
    assert import_file(path).values == {"routing": {"development": "ollama:x"}}
    assert dict(os.environ) == before
