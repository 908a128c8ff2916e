"""What a loaded model can do, as its server tells it, and the refusal of what it cannot."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from farm_notebook.errors import InvalidRequestError, UnsupportedParameterError
from farm_notebook.types import Capability, ChatRequest, ReasoningEffort

__all__ = ["ANY_MODEL", "Abilities", "refuse_images"]

ANY_MODEL: frozenset[Capability] = frozenset({"chat", "completion", "embedding", "tools"})
EFFORTS: tuple[ReasoningEffort, ...] = ("off", "on", "low", "medium", "high")
# Ours to set, each with what a request should use instead.
OURS = {
    "cache_prompt": "seed",
    "logprobs": "logprobs",
    "max_tokens": "max_tokens",
    "messages": "the messages",
    "model": "the model's name",
    "n_predict": "max_tokens",
    "n_probs": "logprobs",
    "prompt": "generate",
    "reasoning_format": "reasoning",
    "response_format": "schema",
    "seed": "seed",
    "stop": "stop",
    "temperature": "temperature",
    "tool_choice": "tool_choice",
    "tools": "tools",
    "top_logprobs": "logprobs",
    "top_p": "top_p",
}
# Taken by llama.cpp's server, and not among the parameters that it lists.
# Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
UNLISTED = frozenset({"chat_template_kwargs", "grammar", "json_schema", "logit_bias", "parallel_tool_calls"})
# Listed, but not for one streamed answer of known length.
UNFIT = frozenset({*OURS, "chat_format", "generation_prompt", "n_discard", "n_keep", "reasoning_in_content"})
UNFIT |= frozenset({"stream", "timings_per_token", "post_sampling_probs"})


@dataclass(frozen=True, slots=True)
class Abilities:
    """What one server tells of its model.

    Args:
        context_tokens: Prompt and answer of one request together; no more than the model was trained on.
        knows_tools: Whether the chat template has a place for tools.
        sees: Whether there is a projector for images.
        efforts: How hard it can be asked to think; ``off`` alone where it does not think at all.
        parameters: Names that it takes beside those of a request.
        template_chars: Length of the chat template, an upper bound for what it adds once to a prompt.
    """

    context_tokens: int
    knows_tools: bool
    sees: bool
    efforts: frozenset[ReasoningEffort]
    parameters: frozenset[str]
    template_chars: int

    @classmethod
    def of(cls, props: Mapping[str, Any]) -> Abilities:
        """Read what ``/props`` answers."""
        settings = props["default_generation_settings"]
        template = str(props.get("chat_template", ""))
        return cls(
            context_tokens=int(settings["n_ctx"]),
            knows_tools=bool(props.get("chat_template_caps", {}).get("supports_tools")),
            sees=bool(props.get("modalities", {}).get("vision")),
            efforts=_efforts(template),
            parameters=(frozenset(settings["params"]) | UNLISTED) - UNFIT,
            template_chars=len(template),
        )

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The same, in the words of a listing."""
        more: dict[Capability, bool] = {"vision": self.sees, "reasoning": self.efforts != {"off"}}
        return ANY_MODEL | {capability for capability, is_there in more.items() if is_there}

    def require(self, request: ChatRequest) -> None:
        """Refuse what this model would not do.

        Raises:
            UnsupportedParameterError: It lists what the model takes.
            InvalidRequestError: A tool choice without the tool.
        """
        if any(message.images for message in request.messages) and not self.sees:
            raise refuse_images(request)
        if request.reasoning is not None and request.reasoning not in self.efforts:
            takes = ", ".join(effort for effort in EFFORTS if effort in self.efforts)
            why = "does not think" if self.efforts == {"off"} else f"takes only {takes}"
            raise _unsupported(request, f"reasoning={request.reasoning!r}: by its chat template it {why}")
        if request.kind == "completion" and (request.tools or request.reasoning not in (None, "off")):
            what = "tools" if request.tools else f"reasoning={request.reasoning!r}"
            raise _unsupported(request, f"{what} in a completion, which has no chat template; use chat")
        names = {tool.name for tool in request.tools}
        choice = request.tool_choice
        if choice not in (None, "auto", "none", *names) and not (choice == "required" and names):
            valid = ", ".join(sorted(names)) or "none, since there are no tools"
            raise InvalidRequestError(f"tool_choice={choice!r} names no tool of the request. Tools: {valid}.")
        if request.schema is not None and names and choice in (None, "auto"):
            raise _unsupported(
                request, "a schema beside tools that may be called; set tool_choice to 'none' or 'required'"
            )
        if request.logprobs is not None and names and self.knows_tools:
            raise _unsupported(request, "logprobs beside tools: llama.cpp tells them of one or the other")
        self._require_known(request)

    def _require_known(self, request: ChatRequest) -> None:
        """llama.cpp drops a parameter that it does not know in silence."""
        for name in sorted(set(request.extra) - self.parameters):
            if name in OURS:
                raise _unsupported(request, f"{name!r} as an extra parameter; use {OURS[name]} instead")
            near = difflib.get_close_matches(name, self.parameters, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise _unsupported(
                request, f"the extra parameter {name!r}.{hint} It takes {', '.join(sorted(self.parameters))}"
            )


def refuse_images(request: ChatRequest) -> UnsupportedParameterError:
    """The error for images that nothing would look at."""
    return _unsupported(
        request,
        "images: it has no projector. Put the model's mmproj*.gguf beside its file, or name it: "
        f'llamacpp={{"projectors": {{{request.ref.model!r}: "PATH"}}}}',
    )


def _unsupported(request: ChatRequest, what: str) -> UnsupportedParameterError:
    return UnsupportedParameterError(f"{request.ref} cannot honour {what}.", provider=request.ref.provider)


def _efforts(template: str) -> frozenset[ReasoningEffort]:
    """How hard a chat template lets a model think: by a switch, by a level, always, or never.

    The switch is ``enable_thinking`` (Qwen, GLM, ...) or ``thinking`` (DeepSeek, Granite); the level is
    ``reasoning_effort`` (gpt-oss).
    """
    found: set[ReasoningEffort] = set()
    code = " ".join(re.findall(r"\{[%{].*?[%}]\}", template, re.DOTALL))
    if re.search(r"\b(?:enable_thinking|thinking)\b", re.sub(r"'[^']*'|\"[^\"]*\"", "", code)):
        found |= {"off", "on"}
    if "reasoning_effort" in code:
        found |= {"on", "low", "medium", "high"}
    if re.search(r"<think>|<\|channel\|>|reasoning_content", template):
        found.add("on")
    return frozenset(found or {"off"})
