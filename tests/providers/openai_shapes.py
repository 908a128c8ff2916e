"""How the double of OpenAI's API reads a request and writes an answer: chats, completions, responses.

The shapes are those of the official client's types (``openai.types``, 3.54).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from openai_mind import Answer, Asked

__all__ = [
    "asked_in_chat",
    "asked_of_responses",
    "asked_raw",
    "chat_body",
    "chat_chunks",
    "completion_body",
    "completion_chunks",
    "response_body",
    "response_events",
]

# Chats and completions


def asked_in_chat(body: dict[str, Any]) -> Asked:
    messages = body["messages"]
    content = next(m["content"] for m in reversed(messages) if m["role"] == "user")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    choice = body.get("tool_choice") or "auto"
    schema = (body.get("response_format") or {}).get("json_schema")
    return Asked(
        prompt="".join(part["text"] for part in parts if part["type"] == "text"),
        temperature=body.get("temperature", 1.0),
        seed=body.get("seed"),
        limit=body.get("max_completion_tokens") or body.get("max_tokens"),
        stop=tuple(body.get("stop") or ()),
        tools=tuple(tool["function"]["name"] for tool in body.get("tools") or ()),
        tool_choice=choice if isinstance(choice, str) else choice["function"]["name"],
        tool_result=messages[-1]["content"] if messages[-1]["role"] == "tool" else None,
        schema=schema["schema"] if schema else None,
        images=tuple(part["image_url"]["url"] for part in parts if part["type"] == "image_url"),
        effort=body.get("reasoning_effort") or "none",
    )


def asked_raw(body: dict[str, Any]) -> Asked:
    return Asked(
        prompt=body["prompt"],
        temperature=body.get("temperature", 1.0),
        seed=body.get("seed"),
        limit=body.get("max_tokens"),
        stop=tuple(body.get("stop") or ()),
    )


def _chunk(body: dict[str, Any], choices: list[Any], **fields: Any) -> str:
    kind = "text_completion" if "prompt" in body else "chat.completion.chunk"
    chunk = {"id": "answer-1", "object": kind, "created": 1_700_000_000, "model": body["model"]}
    return f"data: {json.dumps({**chunk, 'choices': choices, **fields})}\n\n"


def _logprobs(words: Iterable[str], body: dict[str, Any]) -> dict[str, Any] | None:
    """Of words that were all a little likelier than another; a raw prompt's in the older form."""
    wish = body.get("logprobs")
    if "prompt" in body and wish is not None:
        tops = [dict([("?", -2.0), (word, -0.25)][-wish:] if wish else []) for word in words]
        return {"tokens": [*words], "token_logprobs": [-0.25 for _ in words], "top_logprobs": tops}
    return {"content": _likely(words, body["top_logprobs"]), "refusal": None} if wish else None


def _likely(words: Iterable[str], count: int) -> list[dict[str, Any]]:
    tops = [[{"token": word, "logprob": -0.25}, {"token": "?", "logprob": -2.0}][:count] for word in words]
    return [
        {"token": word, "bytes": [*word.encode()], "logprob": -0.25, "top_logprobs": top}
        for word, top in zip(words, tops, strict=True)
    ]


def chat_chunks(answer: Answer, body: dict[str, Any]) -> Iterator[str]:
    def delta(finish: str | None = None, **fields: Any) -> str:
        told = _logprobs([word], body) if (word := fields.get("content")) else None
        return _chunk(body, [{"index": 0, "delta": fields, "logprobs": told, "finish_reason": finish}])

    yield delta(role="assistant", content="", refusal=None)
    for thought in answer.thoughts:
        yield delta(reasoning_content=thought)
    for word in answer.words:
        yield delta(content=word)
    if answer.refusal:
        yield delta(refusal=answer.refusal[:8])
        yield delta(refusal=answer.refusal[8:])
    for index, (name, arguments) in enumerate(answer.calls):
        function = {"name": name, "arguments": ""}
        yield delta(
            tool_calls=[{"index": index, "id": f"call_{index}x", "type": "function", "function": function}]
        )
        for piece in (arguments[:5], arguments[5:]):
            yield delta(tool_calls=[{"index": index, "function": {"arguments": piece}}])
    # A call that was forced ends with "stop", as OpenAI does it.
    forced = answer.calls and body.get("tool_choice") not in (None, "auto")
    yield delta("stop" if forced else answer.reason)
    yield from _chat_tail(answer, body)


def completion_chunks(answer: Answer, body: dict[str, Any]) -> Iterator[str]:
    for word in answer.words:
        told = _logprobs([word], body)
        yield _chunk(body, [{"index": 0, "text": word, "logprobs": told, "finish_reason": None}])
    yield _chunk(body, [{"index": 0, "text": "", "logprobs": None, "finish_reason": answer.reason}])
    yield from _chat_tail(answer, body)


def _chat_tail(answer: Answer, body: dict[str, Any]) -> Iterator[str]:
    if (body.get("stream_options") or {}).get("include_usage"):
        yield _chunk(body, [], usage=_chat_usage(answer))
    yield "data: [DONE]\n\n"


def _chat_usage(answer: Answer) -> dict[str, Any]:
    thought = len(answer.thoughts)
    written = (answer.count or 0) + thought
    return {
        "prompt_tokens": 7,
        "completion_tokens": written,
        "total_tokens": 7 + written,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def chat_body(answer: Answer, body: dict[str, Any]) -> dict[str, Any]:
    words = [*answer.words]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(words) or None}
    message["refusal"] = answer.refusal or None
    if answer.calls:
        message["tool_calls"] = [
            {"id": f"call_{at}x", "type": "function", "function": {"name": name, "arguments": arguments}}
            for at, (name, arguments) in enumerate(answer.calls)
        ]
    told = _logprobs(words, body)
    choice = {"index": 0, "message": message, "logprobs": told, "finish_reason": answer.reason}
    return _whole(body, "chat.completion", choice, answer)


def completion_body(answer: Answer, body: dict[str, Any]) -> dict[str, Any]:
    words = [*answer.words]
    told = _logprobs(words, body)
    choice = {"index": 0, "text": "".join(words), "logprobs": told, "finish_reason": answer.reason}
    return _whole(body, "text_completion", choice, answer)


def _whole(body: dict[str, Any], kind: str, choice: dict[str, Any], answer: Answer) -> dict[str, Any]:
    head = {"id": "answer-1", "object": kind, "created": 1_700_000_000, "model": body["model"]}
    return {**head, "choices": [choice], "usage": _chat_usage(answer)}


# Responses


def asked_of_responses(body: dict[str, Any]) -> Asked:
    items = body["input"] if isinstance(body["input"], list) else [{"role": "user", "content": body["input"]}]
    content = next(item["content"] for item in reversed(items) if item.get("role") == "user")
    parts = content if isinstance(content, list) else [{"type": "input_text", "text": content}]
    choice = body.get("tool_choice") or "auto"
    schema = (body.get("text") or {}).get("format")
    return Asked(
        prompt="".join(part["text"] for part in parts if part["type"] == "input_text"),
        temperature=body.get("temperature", 1.0),
        limit=body.get("max_output_tokens"),
        tools=tuple(tool["name"] for tool in body.get("tools") or ()),
        tool_choice=choice if isinstance(choice, str) else choice["name"],
        tool_result=items[-1]["output"] if items[-1].get("type") == "function_call_output" else None,
        schema=schema["schema"] if schema else None,
        images=tuple(part["image_url"] for part in parts if part["type"] == "input_image"),
        effort=(body.get("reasoning") or {}).get("effort") or "none",
    )


def response_events(answer: Answer, body: dict[str, Any]) -> Iterator[str]:
    """Items one after the other, each added, filled part by part, and done."""
    tells = "message.output_text.logprobs" in body.get("include", ())
    numbers = itertools.count()

    def event(type_: str, **fields: Any) -> str:
        data = {"type": f"response.{type_}", "sequence_number": next(numbers), **fields}
        return f"event: response.{type_}\ndata: {json.dumps(data)}\n\n"

    yield event("created", response=_response(body, "in_progress", []))
    output: list[dict[str, Any]] = []

    def done(item: dict[str, Any]) -> str:
        output.append(item)
        return event("output_item.done", output_index=len(output) - 1, item=item)

    if answer.thoughts:
        item = _reasoning(answer.thoughts)
        yield event("output_item.added", output_index=0, item=item | {"summary": []})
        for index, thought in enumerate(answer.thoughts):
            place = {"item_id": item["id"], "output_index": 0, "summary_index": index}
            part = {"type": "summary_text", "text": ""}
            yield event("reasoning_summary_part.added", part=part, **place)
            yield event("reasoning_summary_text.delta", delta=thought, **place)
            yield event("reasoning_summary_text.done", text=thought, **place)
            yield event("reasoning_summary_part.done", part=part | {"text": thought}, **place)
        yield done(item)
    for name, arguments in answer.calls:
        item = _function_call(name, arguments)
        place = {"item_id": item["id"], "output_index": len(output)}
        yield event("output_item.added", output_index=len(output), item=item | {"arguments": ""})
        yield event("function_call_arguments.delta", delta=arguments, **place)
        yield event("function_call_arguments.done", arguments=arguments, name=name, **place)
        yield done(item)
    if not answer.calls:
        place = {"item_id": "msg_1", "output_index": len(output), "content_index": 0}
        empty = _message("", answer.refusal)
        yield event("output_item.added", output_index=len(output), item=empty | {"content": []})
        said = ""
        if answer.refusal:
            yield event("content_part.added", part={"type": "refusal", "refusal": ""}, **place)
            yield event("refusal.delta", delta=answer.refusal, **place)
            yield event("refusal.done", refusal=answer.refusal, **place)
        else:
            yield event("content_part.added", part=empty["content"][0], **place)
            for word in answer.words:
                said += word
                told = _likely([word], body["top_logprobs"]) if tells else []
                yield event("output_text.delta", delta=word, logprobs=told, **place)
            yield event("output_text.done", text=said, logprobs=[], **place)
        yield event("content_part.done", part=_message(said, answer.refusal)["content"][0], **place)
        yield done(_message(said, answer.refusal))
    state = "incomplete" if answer.reason == "length" else "completed"
    yield event(state, response=_response(body, state, output, answer))


def response_body(answer: Answer, body: dict[str, Any]) -> dict[str, Any]:
    output = [_function_call(name, arguments) for name, arguments in answer.calls]
    if answer.thoughts:
        output.insert(0, _reasoning(answer.thoughts))
    if not answer.calls:
        output.append(_message("".join(answer.words), answer.refusal))
    state = "incomplete" if answer.reason == "length" else "completed"
    return _response(body, state, output, answer)


def _reasoning(thoughts: tuple[str, ...]) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": thought} for thought in thoughts]
    return {"type": "reasoning", "id": "rs_1", "summary": summary}


def _function_call(name: str, arguments: str) -> dict[str, Any]:
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_0x", "status": "completed"}
    return call | {"name": name, "arguments": arguments}


def _message(text: str, refusal: str) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
    content = [{"type": "refusal", "refusal": refusal} if refusal else part]
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": content,
    }


def _response(
    body: dict[str, Any], status: str, output: list[dict[str, Any]], answer: Answer | None = None
) -> dict[str, Any]:
    usage = None
    if answer is not None:
        counts = _chat_usage(answer)
        usage = {
            "input_tokens": 7,
            "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
            "output_tokens": counts["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": len(answer.thoughts)},
            "total_tokens": counts["total_tokens"],
        }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": body["model"],
        "status": status,
        "output": output,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "parallel_tool_calls": True,
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": [],
        "usage": usage,
    }
