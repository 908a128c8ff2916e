"""What looks like a secret is not put before a prompt, and code stays readable."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.notebook.context.clean import clean, without_secrets
from farm_notebook.notebook.context.piece import Piece
from farm_notebook.notebook.context.variables import read_variables


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("connect(password='hunter2')", "connect(password='***')"),
        ('DB_PASSWORD = "a b\\"c"', 'DB_PASSWORD = "***"'),
        (
            "{'user': 'me', 'db_password': 'hunter2', 'port': 1}",
            "{'user': 'me', 'db_password': '***', 'port': 1}",
        ),
        ("config['client_secret'] = 'x1'", "config['client_secret'] = '***'"),
        ("# a\nDB_PASSWORD=hunter2 # mine\nPORT=80", "# a\nDB_PASSWORD=***\nPORT=80"),
        ("export GITHUB_TOKEN=abc\n", "export GITHUB_TOKEN=***\n"),
        ("postgresql://me:hunter2@host/db", "postgresql://me:***@host/db"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMII\nEow\n-----END RSA PRIVATE KEY-----\nend",
            "-----BEGIN RSA PRIVATE KEY-----\n***\n-----END RSA PRIVATE KEY-----\nend",
        ),
        ("OpenAI('sk-Zq8fLm2Xw9Rt4Vb7Nc1KdPa')", "OpenAI('sk-***')"),
    ],
)
def test_what_is_said_to_be_a_secret_is_masked(text: str, masked: str) -> None:
    assert without_secrets(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "password = getpass()",
        "api_key = os.environ['OPENAI_API_KEY']",
        "token = tokenizer(text)",
        "tokens = ['a', 'b']",
        "if password is None:\n    secret = ''",
        "key = 'price'",
        "see https://example.org/a?b=c",
        "f'postgresql://{user}:{password}@{host}'",
        "MAX_TOKENS = 3\nTOKEN=",
        "df.groupby('secret').sum()",
    ],
)
def test_code_that_only_speaks_of_secrets_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


@given(st.text())
def test_any_text_can_be_cleaned_and_stays_clean(text: str) -> None:
    once = without_secrets(text)
    assert without_secrets(once) == once


@pytest.mark.parametrize(
    "unit",
    [
        "password=",
        "a_",
        "a-",
        "secret-",
        "SECRET",
        "://a:",
        "-----BEGIN PRIVATE KEY-----",
        "secret='",
        "TOKEN=\n",
    ],
)
def test_time_grows_with_the_text_and_not_with_its_square(unit: str) -> None:
    def cost_s(size: int) -> float:
        text = unit * (size // len(unit))
        started = time.process_time()
        without_secrets(text)
        return time.process_time() - started

    small = max(min(cost_s(8_000) for _ in range(3)), 1e-4)
    large = min(cost_s(64_000) for _ in range(2))
    assert large / small < 28  # 8 where it is linear, 64 where it is quadratic


def test_sources_and_outputs_are_both_cleaned() -> None:
    (piece,) = clean([Piece("In[1]", "cell", "x", "y")], str.upper)
    assert (piece.text, piece.output) == ("X", "Y")


@pytest.mark.parametrize("name", ["password", "API_KEY", "hf_token", "client_secret", "my_key"])
def test_a_variable_that_is_called_a_secret_is_not_told(name: str) -> None:
    (piece,) = read_variables([name], {name: "hunter22"})
    assert piece.text == "str, 8 long; by its name it is a secret, and is not told"


@pytest.mark.parametrize("name", ["tokens", "monkey", "author", "key", "tokenizer"])
def test_a_variable_that_only_sounds_so_is_told(name: str) -> None:
    assert "words" in read_variables([name], {name: "words"})[0].text


def test_what_is_called_a_secret_but_is_no_text_is_told() -> None:
    assert read_variables(["primary_key"], {"primary_key": [1, 2]})[0].text == "list, 2 items\n[1, 2]"
