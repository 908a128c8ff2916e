"""The catalogue names exact files, and helps whoever mistypes a name."""

from __future__ import annotations

import re

import pytest

from farm_notebook.errors import ModelNotFoundError
from farm_notebook.weights.catalog import CATALOG, lookup


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_every_entry_pins_one_exact_file(name: str) -> None:
    model = lookup(name)
    assert model.name == name
    assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
    assert model.size_bytes > 0
    assert model.filename.endswith(".gguf")
    assert model.wheel or model.hub
    if model.wheel:
        assert "==" in model.wheel.requirement
    if model.hub:
        assert re.fullmatch(r"[0-9a-f]{40}", model.hub.revision), "a branch could change under its name"


def test_no_two_entries_share_a_file() -> None:
    assert len({model.filename for model in CATALOG.values()}) == len(CATALOG)


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CATALOG["other"] = lookup("smollm2:135m")  # type: ignore[index]  # that is the point


def test_a_mistyped_name_is_quoted_and_corrected() -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        lookup("smolm2:135m")
    message = str(caught.value)
    assert "'smolm2:135m'" in message
    assert "Did you mean 'smollm2:135m'?" in message
    assert "Valid names:" in message
    assert ".gguf" in message


def test_a_name_like_no_other_gets_no_wild_guess() -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        lookup("gpt-4o")
    assert "Did you mean" not in str(caught.value)
    assert "smollm2:135m" in str(caught.value)
