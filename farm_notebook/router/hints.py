"""What is said of a name that leads nowhere: what it may have been meant as, and in short what is wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager

from farm_notebook.config import FarmConfig
from farm_notebook.errors import ModelNotFoundError
from farm_notebook.providers import is_provider, provider_names, similar_provider
from farm_notebook.types import ModelRef

__all__ = ["alias_hint", "briefly", "explaining", "provider_hint"]

_LIKE_A_PROVIDER = re.compile(r"[A-Za-z][\w.-]+")  # longer than the letter of a Windows drive


@contextmanager
def explaining(ref: ModelRef, config: FarmConfig) -> Iterator[None]:
    """Have a model that is not found say too that what stands before its ``:`` is no provider.

    ``opnai:gpt-4o`` is a fine name of a model, so it is asked for where models are asked for by default; only
    when there is none may the name have been meant as a provider's, mistyped or not installed. And a name may
    be an alias's, mistyped.
    """
    try:
        yield
    except ModelNotFoundError as error:
        hints = [hint for hint in (provider_hint(ref.model, config), alias_hint(ref.model, config)) if hint]
        if hints:
            error.args = (" ".join((str(error), *hints)),)
        raise


def alias_hint(name: str, config: FarmConfig) -> str:
    """A question that names the alias which a mistyped name was probably meant to be; empty without one."""
    by_lower = {alias.lower(): alias for alias in config.aliases}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.75)
    return f"Did you mean the alias {by_lower[close[0]]!r}?" if close else ""


def briefly(error: Exception) -> str:
    """The first sentence of an error, without its full stop: what is wrong, and not how to mend it."""
    return str(error).partition(". ")[0].rstrip(".")


def provider_hint(model: str, config: FarmConfig) -> str:
    """That what stands before the ``:`` of a name is no provider; empty where nothing does, or it is one."""
    provider, _, rest = model.partition(":")
    if not rest or not _LIKE_A_PROVIDER.fullmatch(provider) or is_provider(provider, config):
        return ""
    close = similar_provider(provider, config)
    meant = f" Did you mean '{close}:{rest}'?" if close else ""
    return f"{provider!r} is no provider either; those are {', '.join(provider_names(config))}.{meant}"
