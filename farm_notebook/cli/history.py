"""``farm history``: the calls that were made, one of them in full, and forgetting them."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

from farm_notebook import loop
from farm_notebook.cli.terminal import console, emit, emit_json, note
from farm_notebook.config import FarmConfig, load_config
from farm_notebook.errors import InvalidRequestError
from farm_notebook.reports import HistoryReport, UsageReport, history_report
from farm_notebook.reports.tables import dollars, seconds
from farm_notebook.stores.calls import Call, Turn
from farm_notebook.stores.history import History

__all__ = ["clear", "emit_table", "find", "open_history", "show"]


def open_history(config: FarmConfig) -> History:
    """The history of a configuration, to be read."""
    kept = config.history
    return History(config.history_path, keep_days=kept.keep_days, max_bytes=kept.max_bytes, texts=kept.texts)


def emit_table(report: HistoryReport | UsageReport) -> None:
    """Write a report's table to stdout: as wide as a terminal, or as plain text."""
    out = console()
    if out.is_terminal:
        out.print(report.grid(), soft_wrap=False)
    else:
        emit(report.plain(), end="\n")


def find(search: str | None, *, model: str | None, since: str | None, limit: int, as_json: bool) -> None:
    """Write calls to stdout, newest first.

    Args:
        search: Words of the prompt or of the answer.
        model: Of this model only.
        since: An age or a day; see ``reports.as_moment``.
        limit: So many at most.
        as_json: A JSON array of all that is known of each, rather than a table.

    Raises:
        InvalidRequestError: ``since`` is no moment.
        OSError: The file cannot be read.
    """
    config = load_config()
    history = open_history(config)
    report = loop.run_blocking(history_report(history, search, model=model, since=since, limit=limit))
    loop.run_blocking(history.aclose())
    if as_json:
        emit_json([_without_messages(call) for call in report])
    elif report:
        emit_table(report)
    else:
        emit("no such calls" if search or model or since else "no calls so far", end="\n")
    if not config.history.enabled:
        note("The history is switched off by FARM_HISTORY__ENABLED.")


def show(number: int, *, as_json: bool) -> None:
    """Write one call to stdout, with the whole conversation that was sent.

    Raises:
        InvalidRequestError: There is none of that number.
        OSError: The file cannot be read.
    """
    history = open_history(load_config())
    call = loop.run_blocking(history.call(number))
    loop.run_blocking(history.aclose())
    if call is None:
        raise InvalidRequestError(f"There is no call {number}. `farm history` lists those there are.")
    if as_json:
        emit_json(dataclasses.asdict(call))
        return
    for name, value in _facts(call):
        emit(f"{name:<14}{value}", end="\n")
    answer = Turn("assistant", call.text or "", tool_calls=call.tool_calls)
    for turn in (*call.messages, answer):
        emit(f"\n[{turn.role}]\n{_said(turn)}", end="\n")


def clear() -> None:
    """Forget every call, and say how many there were.

    Raises:
        OSError: The file cannot be written.
    """
    history = open_history(load_config())
    count = loop.run_blocking(history.clear())
    loop.run_blocking(history.aclose())
    emit(f"{count:,} call{'s' * (count != 1)} forgotten", end="\n")


def _facts(call: Call) -> list[tuple[str, str]]:
    usage, timings = call.usage, call.timings
    tokens = [
        f"{number:,} {what}"
        for number, what in (
            (usage.input_tokens, "in"),
            (usage.output_tokens, "out"),
            (usage.cached_tokens, "of them kept by the provider"),
            (usage.reasoning_tokens, "of them reasoning"),
        )
        if number is not None
    ]
    waits = [
        f"{what} {seconds(value)}"
        for what, value in (
            ("waiting", timings.queue_s or None),
            ("loading", timings.load_s or None),
            ("first token", timings.first_token_s),
            ("in all", timings.total_s),
        )
        if value is not None
    ]
    asked = f" (asked for {call.name or call.asked})" if call.name or call.asked != call.model else ""
    ended = call.finish_reason or " ".join(word for word in (call.error, call.problem) if word)
    facts = [
        ("call", f"{call.id}, {call.kind}"),
        ("when", datetime.fromtimestamp(call.at).astimezone().isoformat(" ", "seconds")),
        ("model", f"{call.model}{asked}"),
        ("rerouted", call.rerouted or ""),
        ("ended", f"{ended}{', kept answer' if call.is_cached else ''}"),
        ("tokens", ", ".join(tokens) or "unknown"),
        ("cost", dollars(call.cost) if call.is_taken else "-"),
        ("time", ", ".join(waits)),
        ("parameters", ", ".join(f"{name}={value}" for name, value in call.parameters.items())),
        ("notebook", call.notebook or ""),
        ("environment", call.environment),
        ("fingerprint", call.fingerprint or ""),
    ]
    return [(name, " ".join(value.split())) for name, value in facts if value]


def _said(turn: Turn) -> str:
    pictures = (f"(image: {image})" for image in turn.images)
    calls = (f"(calls {call.name} with {call.arguments})" for call in turn.tool_calls)
    return "\n".join(part for part in (*pictures, turn.text, *calls) if part)


def _without_messages(call: Call) -> dict[str, Any]:
    plain = dataclasses.asdict(call)
    del plain["messages"]
    return plain
