"""The report of one call: what is known of it, and the whole conversation that was sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from farm_notebook.errors import InvalidRequestError
from farm_notebook.reports.tables import dollars, seconds
from farm_notebook.stores.calls import Call, Turn
from farm_notebook.stores.history import History

__all__ = ["CallReport", "call_report"]


@dataclass(frozen=True, slots=True)
class CallReport:
    """One call; shows itself as text, in a notebook and in a terminal."""

    call: Call

    def plain(self) -> str:
        """The facts, a line each, and below them the turns; as they were, so not to be trusted."""
        facts = (f"{name:<14}{value}" for name, value in _facts(self.call))
        turns = (f"\n[{turn.role}]\n{_said(turn)}" for turn in self._turns())
        return "\n".join((*facts, *turns))

    def __str__(self) -> str:
        from farm_notebook.sanitize import printable

        return printable(self.plain())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": str(self)}

    def _turns(self) -> Iterator[Turn]:
        yield from self.call.messages
        yield Turn("assistant", self.call.text or "", tool_calls=self.call.tool_calls)


async def call_report(history: History, number: int) -> CallReport:
    """Find one call in a history.

    Args:
        history: Where it is.
        number: As a list of calls has it.

    Raises:
        InvalidRequestError: There is none of that number.
        OSError: The history cannot be read.
    """
    call = await history.call(number)
    if call is None:
        raise InvalidRequestError(f"There is no call {number}. `farm history` lists those there are.")
    return CallReport(call)


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
