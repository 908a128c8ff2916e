"""The OpenAI-compatible wire: a request as a JSON body, a streamed chunk as events, an error as ours.

Whoever speaks this protocol shares it: the embedded llama.cpp server, OpenAI, and all that is compatible
with it. The transport, the keys and what only one server knows stay with the provider.
Source: https://platform.openai.com/docs/api-reference/chat
"""

from farm_notebook.providers.openai_wire.body import reasoning_effort, request_body
from farm_notebook.providers.openai_wire.failure import is_missing_model, wire_error
from farm_notebook.providers.openai_wire.reading import AnswerReader, read_answer, require_text
from farm_notebook.providers.openai_wire.schema import json_schema_format
from farm_notebook.providers.openai_wire.stream import decode_stream, usage_of

__all__ = [
    "AnswerReader",
    "decode_stream",
    "is_missing_model",
    "json_schema_format",
    "read_answer",
    "reasoning_effort",
    "request_body",
    "require_text",
    "usage_of",
    "wire_error",
]
