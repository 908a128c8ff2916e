"""A key in a cell is warned of once, and what only stands for a key never."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from farm_notebook.notebook.keys import KeyWatch, keys_in, without_keys

# Put together here, so that no scanner of this repository finds a key.
BODY = "aB3dE5fG7hJ9kL2mN4pQ6rS8tU1vW3xY5z"
OPENAI = "sk-" + "proj-" + BODY
HEX = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"

KEYS = [
    f"key = '{OPENAI}'",
    f"login('hf_{BODY}')",
    f"client = Groq('gsk_{BODY}')",
    f"genai.configure('AIza{BODY}')",
    f"# {OPENAI}",
    f"headers = {{'Authorization': 'Bearer {BODY}'}}",
    f'os.environ["MISTRAL_API_KEY"] = "{HEX}"',
    f'import os\nos.environ["X_API_KEY"]="{HEX}"\n',
    f"os.environ.setdefault('X_API_KEY', '{HEX}')",
    f"%env MISTRAL_API_KEY={HEX}",
    f"%env MISTRAL_API_KEY {HEX}",
    f"%set_env MISTRAL_API_KEY={HEX}",
    f"%%bash\nexport MISTRAL_API_KEY={HEX}\n",
    f"!export MISTRAL_API_KEY={HEX}",
    f"client = Client(api_key='{HEX}')",
    f'api_key: str = "{HEX}"',
    f'settings = {{"apiKey": "{HEX}"}}',
    f"HF_TOKEN = '{HEX}'",
    f"farm = Farm(redis={{'url': 'redis://:{HEX}@cache.test:6379/0'}})",
    f"%env FARM_REDIS__URL=rediss://team:{HEX}@cache.test",
    f"for key in keys:\n    pass\naccess_token = '{HEX}'",
]

NO_KEYS = [
    "",
    "x = 1",
    "for key, value in table.items():\n    print(key, value)",
    "api_key = os.environ['OPENAI_API_KEY']",
    "api_key = getpass.getpass('OpenAI API key: ')",
    "api_key = 'OPENAI_API_KEY'",
    "api_key_env = 'GROQ_API_KEY_2'",
    "headers = {'Authorization': f'Bearer {token_2}'}",
    "headers = {'Authorization': 'Bearer YOUR_TOKEN_GOES_HERE_2'}",
    "api_key='...'",
    "api_key='sk-...'",
    "api_key='your-key'",
    "api_key='your_api_key_1234'",
    "api_key='<paste it here 1>'",
    "api_key='xxxxxxxxxxxxxxxx1'",
    "api_key='sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx1'",
    "api_key='not-needed'",
    "api_key='EMPTY'",
    "api_key='ollama'",
    "api_key=''",
    "api_key=f'{prefix}{number}12345'",
    "%env OPENAI_API_KEY",
    "%env OPENAI_API_KEY=$key_of_mine_2",
    "%env OPENAI_API_KEY={key_of_mine_2}",
    "client = Client(api_key, 'gpt-4o-mini-2024-07-18')",
    "client = Client(api_key=key, base_url='https://api1.example.com')",
    "api_key_url = 'https://platform1.test.com/account'",
    "farm = Farm(redis={'url': 'redis://cache.test:6379/0'})",
    "url = f'redis://:{password}@cache.test'",
    "url = 'redis://team:...@cache.test'",
    "url = 'redis://cache.test/0'  # ask ann@test",
    "tokens = tokenizer('A sentence with 1 number')",
    "tokenizer.pad_token = '<|endoftext1|>'",
    "if api_key == 'abcdefgh12345678':\n    pass",
    "the task-oriented-scheduler-of-version-12345 and risk-adjusted-return-2024-01",
    "hf_hub_download(repo_id='org/model', filename='model-00001-of-00002.safetensors')",
    "from sklearn import x\n'sk-estimator-doc-link sk-toggleable__content'",
]


def warned(watch: KeyWatch, cell: str | None) -> None:
    info: Any = SimpleNamespace(raw_cell=cell)
    watch.look(info)


@pytest.mark.parametrize("cell", KEYS)
def test_a_key_is_warned_of_once_and_never_quoted(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    watch = KeyWatch()
    warned(watch, cell)
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    for said in ("saved with the notebook", ".env", "`farm config set-key`", "getpass"):
        assert said in err
    for secret in (BODY, HEX, BODY[:8], HEX[:8], BODY[-8:], HEX[-8:]):
        assert secret not in err
    warned(watch, cell)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("cell", NO_KEYS)
def test_what_only_stands_for_a_key_is_no_key(cell: str) -> None:
    assert list(keys_in(cell)) == []


def test_a_cell_without_text_is_no_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    warned(KeyWatch(), None)
    assert capsys.readouterr().err == ""


def test_each_kind_is_warned_of_and_the_line_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    watch = KeyWatch()
    warned(watch, f"\n\nx = '{OPENAI}'")
    assert "line 3 of this cell holds what looks like an API key (sk-…)" in capsys.readouterr().err
    warned(watch, f"x = 'hf_{BODY}'")
    assert "line 1" in (err := capsys.readouterr().err)
    assert "(hf_…)" in err


def test_a_password_in_an_address_is_called_one(capsys: pytest.CaptureFixture[str]) -> None:
    warned(KeyWatch(), "url = 'redis://:password@host'")
    assert "line 1 of this cell holds what looks like a password (redis://…@)" in capsys.readouterr().err


def test_a_cell_with_several_keys_is_warned_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    watch = KeyWatch()
    warned(watch, f"api_key = '{OPENAI}'\nHF_TOKEN = 'hf_{BODY}'")
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("client = OpenAI(api_key='sk-Zq8fLm2Xw9Rt4Vb7Nc1KdPa')", "client = OpenAI(api_key='***')"),
        ("Bearer Zq8fLm2Xw9Rt4Vb7Nc1KdPa", "Bearer ***"),
        ("redis://user:pa55word-x@host/0", "redis://user:***@host/0"),
        ("%env HF_TOKEN=Zq8fLm2Xw9Rt4Vb7Nc", "%env HF_TOKEN=***"),
        ("api_key = 'your-key-here'; token = os.environ['TOKEN']", None),
    ],
)
def test_what_looks_like_a_key_can_be_taken_out_of_a_text(text: str, masked: str | None) -> None:
    assert without_keys(text) == (masked or text)
