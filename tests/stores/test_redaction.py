"""Secrets of a configuration are taken out of texts, whichever variable holds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from farm_notebook.config import load_config
from farm_notebook.stores.redaction import TTL_S, Redaction, secrets_of

NAMED = ("OPENAI_API_KEY", "OLLAMA_API_KEY", "GROQ_API_KEY", "REDIS_PASSWORD", "HF_TOKEN")


def test_every_secret_is_masked_and_the_longer_one_first() -> None:
    redact = Redaction(lambda: ["sk-12345678", "sk-12345678-and-more", "hf_abcdefgh"])
    assert redact("sk-12345678-and-more, sk-12345678 and hf_abcdefgh") == "***, *** and ***"


def test_what_is_too_short_to_be_a_key_is_left_alone() -> None:
    assert Redaction(lambda: ["", "the", "1234567"])("the key is 1234567") == "the key is 1234567"


def test_a_secret_is_found_as_json_writes_it_too() -> None:
    secret = 'pass"word\\with\nall'
    redact = Redaction(lambda: [secret])
    assert secret not in json.loads(redact(json.dumps({"a": secret}, ensure_ascii=False)))["a"]


def test_a_key_that_is_changed_is_noticed_and_the_old_one_stays_a_secret() -> None:
    now, keys = 0.0, ["key-number-one"]
    redact = Redaction(lambda: keys, clock=lambda: now)
    assert redact("key-number-one") == "***"
    keys = ["key-number-two"]
    now += TTL_S
    assert redact("key-number-one, key-number-two") == "***, ***"


def test_the_secrets_of_a_configuration_are_those_its_variables_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMED:
        monkeypatch.setenv(name, f"secret of {name}")
    others = {
        "A_KEY": "no secret of ours",
        "B_KEY": "short",
        "C_KEY": "/a/path/to/one",
        "KEYS": "0123-not-named-so",
    }
    for name, value in {**others, "NOTED_SECRET": "0123-of-another-program"}.items():
        monkeypatch.setenv(name, value)
    endpoint = {
        "base_url": "https://api.groq.com/openai/v1",
        "api_key_env": "GROQ_API_KEY",
        "headers": {"X-Api-Key": "sent in a header", "X-Title": "notebook"},
        "query": {"token": "sent in the address", "version": "2026"},
    }
    config = load_config({"endpoints": {"groq": endpoint}})
    named = [f"secret of {name}" for name in NAMED]
    found = {*secrets_of(config)}
    assert found >= {*named, "sent in a header", "sent in the address", "0123-of-another-program"}
    assert not found & {*others.values(), "notebook", "2026"}
