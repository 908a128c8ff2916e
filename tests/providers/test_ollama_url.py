"""Where an Ollama server is, and what its models' names mean."""

from __future__ import annotations

import pytest
from ollama._client import _parse_host

from farm_notebook.errors import ConfigError
from farm_notebook.providers.ollama.names import full_name, is_cloud, same_model, short_name
from farm_notebook.providers.ollama.url import parse_address

AS_THE_CLIENT = [
    "",
    "localhost",
    "1.2.3.4",
    ":56789",
    "1.2.3.4:56789",
    "http://1.2.3.4",
    "https://1.2.3.4",
    "https://1.2.3.4:56789",
    "example.com",
    "example.com:56789",
    "http://example.com",
    "HTTP://example.com:80",
    "https://example.com",
    "example.com/",
    "example.com/path",
    "example.com:56789/path/",
    "https://example.com:56789/a/b",
    "[0001:002:003:0004::1]",
    "[0001:002:003:0004::1]:56789",
    "http://[0001:002:003:0004::1]",
    "https://[0001:002:003:0004::1]:56789/path",
]


@pytest.mark.parametrize("text", AS_THE_CLIENT)
def test_an_address_is_read_as_the_official_client_reads_it(text: str) -> None:
    assert parse_address(text).url == _parse_host(text.replace("HTTP", "http"))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:1234", "http://127.0.0.1:1234"),
        ("http://[::]:1234", "http://[::1]:1234"),
        ("::1", "http://[::1]:11434"),
        ("http://h:1/v1", "http://h:1"),
        ("http://h:1/v1/", "http://h:1"),
        ("http://h:1/api", "http://h:1"),
        ("h:1/api/v1//", "http://h:1"),
        ("https://h/ollama/api/", "https://h:443/ollama"),
        ("https://h/api/ollama/", "https://h:443/api/ollama"),
        ("  localhost:1 \n", "http://localhost:1"),
        ("ollama.com", "https://ollama.com:443"),
    ],
)
def test_what_people_write_besides_works_too(text: str, url: str) -> None:
    assert parse_address(text).url == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://h", "'ftp' is no scheme"),
        ("http://h:99999", "no valid host and port"),
        ("http://h:port", "no valid host and port"),
        ("h:0", "no server listens on port 0"),
        ("http://[::1", "no valid host and port"),
        ("http://h/api/chat", "/api/chat is one call of the API"),
        ("h:1/v1/models/", "/v1/models is one call of the API"),
        ("http://h?x=1", "it has a query"),
        ("http://h#x", "it has a query or a fragment"),
        ("my host", "'my host' is no host"),
    ],
)
def test_what_cannot_work_says_why_and_what_would(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        parse_address(text)
    assert "OLLAMA_URL or OLLAMA_HOST" in str(caught.value)
    assert "http://localhost:11434" in str(caught.value)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="OLLAMA_API_KEY") as caught:
        parse_address("http://me:hunter2@h:1")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "is_loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1:1", True),
        ("0.0.0.0", True),
        ("[::1]:1", True),
        ("box.localhost", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("ollama", False),
    ],
)
def test_only_loopback_is_this_machine(text: str, is_loopback: bool) -> None:
    assert parse_address(text).is_loopback is is_loopback


@pytest.mark.parametrize(("text", "is_implied"), [("http://h", True), ("h", False), ("http://h:80", False)])
def test_a_port_that_only_the_scheme_implies_is_known_as_such(text: str, is_implied: bool) -> None:
    assert parse_address(text).port_is_implied is is_implied


@pytest.mark.parametrize(
    ("name", "full", "short"),
    [
        ("llama3.2", "llama3.2:latest", "llama3.2"),
        ("llama3.2:latest", "llama3.2:latest", "llama3.2"),
        ("llama3.1:8b", "llama3.1:8b", "llama3.1:8b"),
        ("me/mine", "me/mine:latest", "me/mine"),
        ("library/llama3.2", "llama3.2:latest", "llama3.2"),
        ("registry.ollama.ai/library/llama3.2:1b", "llama3.2:1b", "llama3.2:1b"),
        ("host:5000/me/mine", "host:5000/me/mine:latest", "host:5000/me/mine"),
        ("hf.co/me/mine:Q4_K_M", "hf.co/me/mine:Q4_K_M", "hf.co/me/mine:Q4_K_M"),
    ],
)
def test_a_name_without_a_tag_means_latest(name: str, full: str, short: str) -> None:
    assert full_name(name) == full
    assert short_name(name) == short
    assert same_model(name.upper(), full) is ("registry" not in name and "library" not in name)


def test_a_model_of_the_cloud_is_known_by_its_tag() -> None:
    assert [
        is_cloud(name) for name in ("gpt-oss:120b-cloud", "glm:cloud", "cloud", "cloud:8b", "x-cloud:1b")
    ] == [
        True,
        True,
        False,
        False,
        False,
    ]
