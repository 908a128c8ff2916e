"""What is a secret is taken out, what is none stays, and no text takes long."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm_notebook.cassettes import scrub_for
from farm_notebook.cassettes.scrub import Scrub, find_secrets
from farm_notebook.config import load_config

ROOT = Path(__file__).parents[2]

SECRETS = [
    ("key sk-proj-0123456789abcdef!", "key ***!"),
    ("hf_abcdefghijklmnop", "***"),
    ("ghp_0123456789abcdefghij", "***"),
    ("AKIAIOSFODNN7EXAMPLE.", "***."),
    ("postgres://me:s3cret@host/db", "postgres://***@host/db"),
    ("https://x.org/v1?a=1&api_key=abcdef123&b=2", "https://x.org/v1?a=1&api_key=***&b=2"),
    ("Authorization: Bearer abcdefgh.ijkl", "Authorization: Bearer ***"),
    ("{'my_api_key': 'abc123def456'}", "{'my_api_key': '***'}"),
    ("password = hunter2hunter2", "password = ***"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig", "***"),
    ("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\nend", "***\nend"),
    ("aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF", "***"),
]
NO_SECRETS = [
    "the key is under the mat",
    "password = get_password(user)",
    "max_tokens=1000000000000",
    "token: str = field(default='')",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "http://localhost:8000/v1",
    "f'http://me:{password}@host/?token={token}'",
    "a_rather_long_name_of_a_function_that_does_much_1",
    "sk-learn, sk-image and hf-hub are packages",
]


@pytest.mark.parametrize(("text", "clean"), SECRETS)
def test_what_looks_like_a_key_is_taken_out_and_the_rest_stays(text: str, clean: str) -> None:
    scrub = Scrub()
    assert scrub(text) == clean
    assert scrub(clean) == clean
    assert len([*find_secrets(text)]) >= 1
    assert [*find_secrets(clean)] == []


@pytest.mark.parametrize("text", NO_SECRETS)
def test_what_does_not_stays(text: str) -> None:
    assert Scrub()(text) == text
    assert [*find_secrets(text)] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_no_page_of_the_documentation_holds_what_looks_like_a_key(page: Path) -> None:
    text = page.read_text("utf-8")
    assert Scrub()(text) == text


def test_secrets_are_taken_out_of_all_that_json_can_hold() -> None:
    value = {"a": ["sk-proj-0123456789abcdef", 1, None], "sk-proj-0123456789abcdef": {"token": "short"}}
    assert Scrub()(value) == {"a": ["***", 1, None], "***": {"token": "***"}}


@pytest.mark.parametrize(
    "name", ["X-Pass", "pwd", "PASSPHRASE", "x_auth", "X-Api-Key", "Cookie", "my_password"]
)
def test_what_is_called_a_secret_is_one_whatever_it_looks_like(name: str) -> None:
    assert Scrub()({name: "word"}) == {name: "***"}


@pytest.mark.parametrize("name", ["passes", "compass", "author", "max_tokens", "authority"])
def test_what_is_called_otherwise_stays(name: str) -> None:
    assert Scrub()({name: "word"}) == {name: "word"}


def test_what_is_called_a_key_in_a_schema_is_no_secret() -> None:
    schema = {"properties": {"api_key": {"type": "string"}}, "required": ["api_key"]}
    assert Scrub()(schema) == schema


def test_what_variables_of_the_environment_hold_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "SOME_API_KEY": "correct-horse-battery",
        "SOME_TOKEN": "short",
        "SOME_KEY": "/home/me/.ssh/id_rsa",
        "SOME_PASSWORD": "two words and more",
        "SOME_NAME": "not-a-secret-at-all",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    scrub = scrub_for(load_config())
    assert scrub(given["SOME_API_KEY"]) == "***"
    for name in ("SOME_TOKEN", "SOME_KEY", "SOME_PASSWORD", "SOME_NAME"):
        assert scrub(given[name]) == given[name]


@pytest.mark.parametrize("piece", ["a-", "_", "a", "://", "sk-", "key=", "Bearer ", "aB3", "eyJ", "@:", "?"])
def test_no_text_takes_a_time_that_grows_with_its_square(piece: str) -> None:
    """One of this length would take minutes; the test fails by its timeout."""
    Scrub()(piece * (200_000 // len(piece)))
