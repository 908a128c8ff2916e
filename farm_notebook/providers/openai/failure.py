"""A refused request as a typed error: what the protocol knows, and what only the configuration can tell."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2

from farm_notebook.config import EndpointConfig
from farm_notebook.errors import AuthenticationError, FarmError, ProviderError
from farm_notebook.providers.http import public_url
from farm_notebook.providers.openai_wire import is_missing_model, wire_error
from farm_notebook.types import ModelRef

__all__ = ["NoSuchPathError", "section_of", "status_failure"]

_NO_PATH = (404, 405)
_NO_COMPLETIONS = re.compile(  # vLLM, Azure
    r"does not support completions|completion operation does not work", re.IGNORECASE
)
_QUOTED_CHARS = 200


class NoSuchPathError(ProviderError):
    """The endpoint answers, but has nothing at this path, or not for this model."""


def status_failure(response: httpx2.Response, ref: ModelRef, endpoint: EndpointConfig) -> FarmError:
    """The typed error for a response that is no success; its body has been read.

    Args:
        response: What came.
        ref: The model that was asked.
        endpoint: Where; the error names the setting that may be wrong.
    """
    status, body = response.status_code, _body_of(response)
    setting = f"{section_of(ref.provider)}.base_url"
    url = public_url(str(response.request.url))
    if response.has_redirect_location:
        # Not followed: a POST would become a GET, and a key in a header of its own would go to strangers.
        message = (
            f"{ref}: {url} redirects to {public_url(response.headers['location'])}. "
            f"Put the address that answers itself into {setting}."
        )
        return ProviderError(message, provider=ref.provider, status=status)
    if status in _NO_PATH and not is_missing_model(body):
        hint = "" if "/v1" in url else "; most servers want it to end in /v1"
        has_none = "The server may have no embeddings. Or check" if url.endswith("/embeddings") else "Check"
        message = (
            f"{ref}: there is no {url} (status {status}: {_words(body)!r}). {has_none} {setting}, which is "
            f"{public_url(endpoint.base_url)!r}{hint}."
        )
        return NoSuchPathError(message, provider=ref.provider, status=status)
    if _NO_COMPLETIONS.search(_words(body)):
        return NoSuchPathError(f"{ref}: {_words(body)}", provider=ref.provider, status=status)
    error = wire_error(body, ref, status, response.headers)
    if isinstance(error, AuthenticationError):
        variable = endpoint.api_key_env
        fix = f"The key was read from the variable {variable}."
        if variable is None:
            setting = f"{section_of(ref.provider)}.api_key_env"
            fix = f"No key was sent: name the variable that holds one with {setting}."
        error.args = (f"{str(error).rstrip('.')}. {fix}",)
    return error


def section_of(provider: str) -> str:
    """The section of the settings that configures a provider of this protocol."""
    return "openai" if provider == "openai" else f"endpoints.{provider}"


def _body_of(response: httpx2.Response) -> Any:
    """The JSON of a response, or else the beginning of its text."""
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return response.text.strip()[:_QUOTED_CHARS] or response.reason_phrase


def _words(body: Any) -> str:
    """What a server said, in short."""
    error = body.get("error", body) if isinstance(body, dict) else body
    words = error.get("message", error) if isinstance(error, dict) else error
    return str(words)[:_QUOTED_CHARS]
