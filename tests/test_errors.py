"""Every error leads to its page."""

from __future__ import annotations

import copy
import pickle

import pytest

from farm_notebook import errors
from farm_notebook.errors import DOCS_URL, FarmError, ProviderTimeoutError, RateLimitedError

KINDS = [kind for name in errors.__all__ if isinstance(kind := getattr(errors, name), type)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_has_the_address_of_its_own_page(kind: type[FarmError]) -> None:
    assert kind.docs_url == f"{DOCS_URL}/errors/{kind.__name__}.html"


def test_an_error_that_a_provider_of_the_users_derives_has_the_page_of_its_base() -> None:
    class ParrotAsleepError(RateLimitedError):
        pass

    assert ParrotAsleepError("hush").docs_url == RateLimitedError.docs_url


def test_the_address_is_neither_in_the_message_nor_in_what_is_copied() -> None:
    error = ProviderTimeoutError("Nothing came.", timer="idle")
    for same in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert str(same) == "Nothing came."
        assert "docs_url" not in vars(same)
        assert same.docs_url.endswith("/ProviderTimeoutError.html")
