"""Error bodies of the servers that speak OpenAI's protocol, as they send them, and what each becomes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.errors import (
    AuthenticationError,
    ContentRefusedError,
    ContextLengthError,
    FarmError,
    InvalidRequestError,
    ModelNotFoundError,
    OutOfMemoryError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    UnsupportedParameterError,
)
from farm_notebook.providers.openai_wire import is_missing_model, wire_error
from farm_notebook.providers.openai_wire.too_long import too_long
from farm_notebook.types import ModelRef

REF = ModelRef("somewhere", "model-1")


def error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, **fields}}


TOO_LONG = {
    "OpenAI, of a chat": (
        "This model's maximum context length is 4097 tokens. However, your messages resulted in 5000 tokens. "
        "Please reduce the length of the messages.",
        (5000, 4097),
    ),
    "OpenAI, of a completion": (
        "This model's maximum context length is 8192 tokens, however you requested 10500 tokens (500 in your "
        "prompt; 10000 for the completion). Please reduce your prompt; or completion length.",
        (10500, 8192),
    ),
    "OpenAI, of a response": (
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        (None, None),
    ),
    "OpenRouter": (
        "This endpoint's maximum context length is 32768 tokens. However, you requested about 40010 tokens "
        "(39010 of text input, 1000 in the output). Please reduce the length of either one.",
        (40010, 32768),
    ),
    "vLLM": (
        "This model's maximum context length is 2048 tokens. However, your request has 3000 input tokens. "
        "Please reduce the length of the input messages.",
        (3000, 2048),
    ),
    "vLLM, of the answer": (
        "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is "
        "4096 tokens and your request has 12 input tokens (5000 > 4096 - 12).",
        (12, 4096),
    ),
    "vLLM, newer": (
        "This model's maximum context length is 2048 tokens. However, you requested 100 output tokens and "
        "your prompt contains at least 1949 input tokens, for a total of at least 2049 tokens.",
        (1949, 2048),
    ),
    "vLLM, of the engine": (
        "The decoder prompt (length 9000) is longer than the maximum model length of 8192.",
        (9000, 8192),
    ),
    "llama.cpp": (
        "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
        (5000, 4096),
    ),
    "llama.cpp, older": (
        "the request exceeds the available context size (4096 tokens), try increasing it",
        (None, 4096),
    ),
    "llama.cpp, to embed": (
        "input (700 tokens) is too large to process. increase the physical batch size (current batch size: "
        "512)",
        (700, 512),
    ),
    "LM Studio": (
        "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with "
        "context length of only 4096 tokens, which is not enough.",
        (5000, 4096),
    ),
    "Groq, of a minute": (
        "Request too large for model `llama-3.1-8b-instant` in organization `org_1` service tier `on_demand` "
        "on tokens per minute (TPM): Limit 6000, Requested 7018, please reduce your message size.",
        (7018, 6000),
    ),
    "Groq": ("Please reduce the length of the messages or completion.", (None, None)),
    "Together": (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000 `inputs` "
        "tokens and 512 `max_new_tokens`",
        (5000, 4097),
    ),
    "Anthropic": ("prompt is too long: 210,000 tokens > 200,000 maximum", (210000, 200000)),
    "Mistral": (
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context "
        "length",
        (40000, 32768),
    ),
    "Google": (
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        (1200000, 1048576),
    ),
}


@pytest.mark.parametrize(("message", "counts"), TOO_LONG.values(), ids=TOO_LONG)
@pytest.mark.parametrize("status", [400, 413, 429, 500, None])
def test_a_prompt_too_long_is_known_by_its_words_with_their_counts(
    message: str, counts: tuple[int | None, int | None], status: int | None
) -> None:
    typed = wire_error(error(message), REF, status)
    assert isinstance(typed, ContextLengthError)
    assert (typed.tokens, typed.limit) == counts
    assert (typed.status, typed.provider) == (status, "somewhere")
    assert message in str(typed)


@pytest.mark.parametrize(
    "message",
    [
        "Rate limit reached for gpt-4 on tokens per min (TPM): Limit 10000, Used 9000, Requested 2000.",
        "max_tokens must be at least 1",
        "The context is missing.",
        "Invalid 'messages': array too long.",
        "",
    ],
)
def test_other_messages_with_tokens_are_not_taken_for_one(message: str) -> None:
    assert too_long(message) is None


@given(text=st.text())
def test_any_text_is_searched_without_failing(text: str) -> None:
    assert too_long(text) in (None, (None, None))


CASES: dict[str, tuple[int | None, Any, type[FarmError]]] = {
    "OpenAI: a wrong key": (
        401,
        error("Incorrect API key provided: sk-abc***xyz.", code="invalid_api_key"),
        AuthenticationError,
    ),
    "OpenAI: no model": (
        404,
        error("The model `x` does not exist or you do not have access to it.", code="model_not_found"),
        ModelNotFoundError,
    ),
    "OpenAI: a model of another project": (
        403,
        error("Project `proj_1` does not have access to model `x`", code="model_not_found"),
        ModelNotFoundError,
    ),
    "OpenAI: a parameter of other models": (
        400,
        error(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            code="unsupported_parameter",
        ),
        UnsupportedParameterError,
    ),
    "OpenAI: a value of other models": (
        400,
        error("Unsupported value: 'temperature' does not support 0.5.", code="unsupported_value"),
        UnsupportedParameterError,
    ),
    "OpenAI: an unknown parameter": (
        400,
        error("Unrecognized request argument supplied: colour"),
        UnsupportedParameterError,
    ),
    "OpenAI: too many stop strings": (
        400,
        error("Invalid 'stop': array too long. Expected an array with maximum length 4.", param="stop"),
        InvalidRequestError,
    ),
    "OpenAI: too fast": (
        429,
        error("Rate limit reached for gpt-4o in organization org-1.", code="rate_limit_exceeded"),
        RateLimitedError,
    ),
    "OpenAI: out of credit": (
        429,
        error("You exceeded your current quota, please check your plan.", code="insufficient_quota"),
        QuotaExceededError,
    ),
    "OpenAI: a flagged prompt": (
        400,
        error("Invalid prompt: your prompt was flagged.", code="invalid_prompt"),
        ContentRefusedError,
    ),
    "Azure: the filter": (
        400,
        error(
            "The response was filtered due to the prompt triggering content management policy.",
            code="content_filter",
            innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
        ),
        ContentRefusedError,
    ),
    "Azure: the filter, without its code": (
        400,
        error("Filtered.", code=None, innererror={"code": "ResponsibleAIPolicyViolation"}),
        ContentRefusedError,
    ),
    "Azure: no deployment": (
        404,
        error("The API deployment for this resource does not exist.", code="DeploymentNotFound"),
        ModelNotFoundError,
    ),
    "Azure: too fast": (
        429,
        error("Requests have exceeded call rate limit. Retry after 6 seconds.", code="429"),
        RateLimitedError,
    ),
    "a limit in words of something else": (
        429,
        error("Your plan does not support more requests a minute."),
        RateLimitedError,
    ),
    "vLLM: no model": (
        404,
        {
            "object": "error",
            "message": "The model `x` does not exist.",
            "type": "NotFoundError",
            "code": 404,
        },
        ModelNotFoundError,
    ),
    "vLLM: a wrong value": (
        400,
        {
            "object": "error",
            "message": "temperature must be non-negative",
            "type": "BadRequestError",
            "code": 400,
        },
        InvalidRequestError,
    ),
    "vLLM: inside the stream": (
        None,
        {"object": "error", "message": "engine died", "type": "InternalServerError", "code": 500},
        ProviderError,
    ),
    "llama.cpp: no embeddings": (
        501,
        error("This server does not support embeddings.", type="not_supported_error", code=501),
        UnsupportedParameterError,
    ),
    "llama.cpp: no projector": (
        500,
        error("image input is not supported - hint: provide the mmproj", type="server_error", code=500),
        UnsupportedParameterError,
    ),
    "llama.cpp: loading": (
        503,
        error("Loading model", type="unavailable_error", code=503),
        ProviderError,
    ),
    "Ollama: no model": (
        404,
        error('model "x" not found, try pulling it first', type="api_error"),
        ModelNotFoundError,
    ),
    "Ollama: no tools": (
        400,
        error("registry.ollama.ai/library/x:latest does not support tools", type="api_error"),
        UnsupportedParameterError,
    ),
    "Groq: an unknown property": (
        400,
        error("property 'colour' is unsupported, did you mean 'color'?"),
        UnsupportedParameterError,
    ),
    "OpenRouter: no model": (
        400,
        error("nope/nope is not a valid model ID", code=400),
        ModelNotFoundError,
    ),
    "OpenRouter: no endpoint": (
        404,
        error("No endpoints found for nope/nope.", code=404),
        ModelNotFoundError,
    ),
    "OpenRouter: no credit": (
        402,
        error("Insufficient credits. Add more.", code=402),
        QuotaExceededError,
    ),
    "OpenRouter: a moderator": (
        403,
        error(
            "openai/x requires moderation. Your input was flagged.",
            code=403,
            metadata={"reasons": ["violence"], "flagged_input": "..."},
        ),
        ContentRefusedError,
    ),
    "OpenRouter: what the one behind it said": (
        400,
        error(
            "Provider returned error",
            code=400,
            metadata={"raw": "prompt is too long: 9 tokens > 8 maximum", "provider_name": "A"},
        ),
        ContextLengthError,
    ),
    "Together: no model": (
        404,
        error("Unable to access non-serverless model x.", code="model_not_available"),
        ModelNotFoundError,
    ),
    "Mistral: no model": (
        400,
        {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
        ModelNotFoundError,
    ),
    "Google: no model": (
        404,
        [{"error": {"code": 404, "message": "models/x: the model is not found for API version v1main"}}],
        ModelNotFoundError,
    ),
    "DeepSeek: no credit": (402, error("Insufficient Balance"), QuotaExceededError),
    "transformers: another model": (
        400,
        {"detail": "Server is pinned to 'a'; requested 'nope'."},
        ModelNotFoundError,
    ),
    "a GPU that is full": (
        500,
        {"error": {"message": "CUDA out of memory. Tried to allocate 2 GiB"}},
        OutOfMemoryError,
    ),
    "FastAPI: a wrong body": (
        422,
        {"detail": [{"loc": ["body", "top_p"], "msg": "too big"}]},
        InvalidRequestError,
    ),
}


@pytest.mark.parametrize(("status", "body", "kind"), CASES.values(), ids=CASES)
def test_each_servers_error_becomes_its_type(status: int | None, body: Any, kind: type[FarmError]) -> None:
    typed = wire_error(body, REF, status)
    assert type(typed) is kind
    assert str(typed).startswith("somewhere:model-1: ")


def test_what_the_server_behind_a_gateway_said_is_passed_on() -> None:
    body = error("Provider returned error", metadata={"raw": "the GPU fell off", "provider_name": "Farm"})
    assert str(wire_error(body, REF, 502)).endswith("Provider returned error (Farm: the GPU fell off)")


@pytest.mark.parametrize("code", [True, 7, "404", None, 1500])
def test_a_code_that_is_no_status_is_not_taken_for_one(code: Any) -> None:
    typed = wire_error(error("no", code=code), REF)
    assert isinstance(typed, ProviderError)
    assert typed.status is None


@pytest.mark.parametrize(
    "body",
    [
        {"detail": "Not Found"},
        error("Invalid URL (POST /chat/completions)"),
        error("File Not Found", type="not_found_error", code=404),
        "404 page not found",
        "",
        None,
    ],
)
def test_a_missing_path_is_not_taken_for_a_missing_model(body: Any) -> None:
    assert not is_missing_model(body)
