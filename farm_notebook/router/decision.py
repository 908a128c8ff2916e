"""Explains which model a name leads to, and why."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from farm_notebook.config import FarmConfig
from farm_notebook.router.balance import shares
from farm_notebook.router.chooser import Chooser
from farm_notebook.router.names import look_up
from farm_notebook.types import Capability, ChatMessage, ChatRequest, ModelRef

__all__ = ["RouteDecision", "explain"]

_SHOWN_CHARACTERS = 60  # of a parameter; a system message may be long


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """Where a name leads now.

    Args:
        name: What was asked; empty where no model was named.
        ref: The model that is asked first.
        alternates: Who stands in for it, in this order.
        deployments: Where it is one of several places: the part of the requests that each gets by weight.
        parameters: What aliases say about a request where the caller does not, by name.
        reasons: Why it is that model, one step after the other.
        skipped: Who was left out, with the reason.
    """

    name: str
    ref: ModelRef
    alternates: tuple[ModelRef, ...] = ()
    deployments: Mapping[ModelRef, float] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    skipped: Mapping[ModelRef, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.name or 'no name'} -> {self.ref}"]
        lines += [f"  {what}: {text}" for what, text in self._facts()]
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Markdown and plain text."""
        from farm_notebook.sanitize import as_inline_text, printable  # only for a display

        head = f"{as_inline_text(self.name) or '*no name*'} → **{as_inline_text(str(self.ref))}**"
        facts = [f"- {what}: {as_inline_text(text)}" for what, text in self._facts()]
        return {"text/markdown": "\n".join((head, "", *facts)), "text/plain": printable(str(self))}

    def _facts(self) -> Iterator[tuple[str, str]]:
        """What there is to say, each with a word for it."""
        for reason in self.reasons:
            yield "because", reason
        if self.deployments:
            yield "places", ", ".join(f"{ref} {share:.0%}" for ref, share in self.deployments.items())
        if self.alternates:
            yield "then", ", ".join(map(str, self.alternates))
        if self.parameters:
            shown = (f"{name}={_short(value)}" for name, value in self.parameters.items())
            yield "parameters", ", ".join(shown)
        for ref, reason in self.skipped.items():
            yield "left out", f"{ref}: {reason}"


async def explain(
    name: str | None,
    config: FarmConfig,
    chooser: Chooser,
    *,
    needs: frozenset[Capability] = frozenset(),
    ailment: Callable[[ModelRef], str | None] = lambda ref: None,
) -> RouteDecision:
    """Where a name leads, decided as for a request, but for none in particular.

    Args:
        name: As a user writes it; ``None`` is the default.
        config: The settings.
        chooser: Decides what the settings leave open; it may ask providers for their models.
        needs: What the request would need beside a chat, such as ``vision``.
        ailment: What is known to be wrong with a model now, in a line; such a one is asked last.

    Raises:
        FarmError: The name leads nowhere; as a request with it would.
    """
    found = look_up(name, config)
    route = replace(found.route, needs=found.route.needs | needs)
    probe = ChatRequest(found.ref, (ChatMessage("user", ""),), route=route)
    choice = await chooser.choose(probe, in_general=True)
    refs = (choice.request.ref, *choice.request.route.alternates)
    ailments = {ref: ailing for ref in refs if (ailing := ailment(ref)) is not None}
    first, *others = sorted(refs, key=lambda ref: ref in ailments)
    when = "last" if others else "all the same"
    unwell = (f"{ref} is not well, and is asked {when}: {ailing}" for ref, ailing in ailments.items())
    return RouteDecision(
        found.route.name,
        first,
        alternates=tuple(others),
        deployments=shares(found.route.deployments),
        parameters=found.parameters,
        reasons=tuple(reason for reason in (found.route.reason, choice.reason, *unwell) if reason),
        skipped={**found.skipped, **choice.skipped},
    )


def _short(value: object) -> str:
    return textwrap.shorten(repr(value), _SHOWN_CHARACTERS, placeholder="…")
