"""Settings of names: what an alias stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from farm_notebook.config.values import Section
from farm_notebook.types import Balance, Capability, ReasoningEffort

__all__ = ["AliasConfig", "DeploymentConfig", "ParametersConfig"]


class ParametersConfig(Section):
    """What an alias says about a request where the caller does not; see ``request.Options``."""

    system: str | None = None
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=0)
    stop: tuple[str, ...] | None = None
    reasoning: ReasoningEffort | None = None
    extra: Mapping[str, Any] | None = None


class DeploymentConfig(Section):
    """One of several places that serve the same model.

    Args:
        model: How it is asked there, as in ``azure-eu:gpt-4o``.
        weight: Its share of the requests, beside the others' weights.
    """

    model: str = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0)


class AliasConfig(Section):
    """What a name stands for. Where it is written as a text, that is its ``model``.

    Args:
        model: A model, as in ``ollama:llama3.2``, or another alias.
        deployments: In its place, several places that serve the same model.
        balance: How one of them is chosen: by weight alone, or where the fewest requests are under way.
        fallback: Models or aliases to ask in turn where this one fails; ``None`` is the general chain.
        parameters: What it says about a request where the caller does not.
        needs: What a model must be able to do to stand behind this name.
        context_tokens: The smallest context window that will do.
    """

    text_sets = "model"

    model: str | None = Field(default=None, min_length=1)
    deployments: tuple[DeploymentConfig, ...] = ()
    balance: Balance = "weighted"
    fallback: tuple[str, ...] | None = None
    parameters: ParametersConfig = ParametersConfig()
    needs: frozenset[Capability] = frozenset()
    context_tokens: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _has_one_meaning(self) -> AliasConfig:
        if (self.model is None) == (not self.deployments):
            raise ValueError("an alias has either a model or deployments")
        return self
