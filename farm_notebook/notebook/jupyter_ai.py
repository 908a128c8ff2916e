"""What users of Jupyter AI's ``%%ai`` write, in our terms; docs/from_jupyter_ai.md is the table of it.

Source: jupyter-ai-magics 2.31.7 and jupyter-ai-magic-commands 0.0.4, their ``parsers.py``.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from farm_notebook.errors import InvalidRequestError

__all__ = [
    "FOREIGN_OPTIONS",
    "FOREIGN_SUBCOMMANDS",
    "ModelOrParameters",
    "Parameters",
    "our_name",
    "take_model",
]

_SAGEMAKER = "SageMaker is reached through an endpoint of yours that speaks OpenAI's protocol: [endpoints]."
FOREIGN_OPTIONS: Mapping[str, str] = {
    "--region-name": _SAGEMAKER,
    "-n": _SAGEMAKER,
    "--request-schema": _SAGEMAKER,
    "-q": _SAGEMAKER,
    "--response-path": _SAGEMAKER,
    "-p": _SAGEMAKER,
    "--api-base": 'An address is part of a provider: farm.toml, [endpoints], NAME = { base_url = "..." }.',
    "--api-key-name": 'A key\'s variable is part of a provider: farm.toml, [endpoints], api_key_env = "...".',
    "--eval": "A prompt is never run as code; `-c NAME` tells of a variable, and `{NAME}` puts its value in.",
    "-r": "`--reset` forgets the conversation.",
}
FOREIGN_SUBCOMMANDS: Mapping[str, str] = {
    "list": "`%farm models` lists the models, `%farm alias` the aliases.",
    "register": "`%farm alias NAME MODEL` gives a model another name.",
    "update": "`%farm alias NAME MODEL` has a name stand for another model.",
    "delete": "`%farm alias NAME --remove` takes a name away.",
    "dealias": "`%farm alias NAME --remove` takes a name away.",
    "error": "`%farm fix` explains the last error and proposes the corrected cell.",
    "reset": "`%farm_chat --reset` forgets the conversation.",
    "version": "`farm_notebook.__version__` is the version.",
}
_AN_OBJECT = r"""\s*\{\s*["'}]"""  # and no {name} that was not filled
RENAMED = {"openai-chat": "openai"}
OF_REQUESTS = ("top_p", "logprobs", "reasoning")  # without an option of their own, and of every model


def our_name(name: str) -> str:
    """A model's name, where Jupyter AI calls its provider otherwise."""
    provider, colon, model = name.partition(":")
    return f"{RENAMED.get(provider, provider)}{colon}{model}" if model else name


def take_model(values: argparse.Namespace, words: list[str], *, is_model: Callable[[str], bool]) -> None:
    """Have the first of the words among a cell magic's options be the model, where it is one's name.

    Args:
        values: The options; the model is set.
        words: What stands among them; the name is taken out.
        is_model: Whether a word is a model's name, and no prompt that went astray.

    Raises:
        InvalidRequestError: Another one is named by ``-m``.
    """
    if not words or not is_model(words[0]):
        return
    named = our_name(words.pop(0))
    if values.model not in (None, named):
        raise InvalidRequestError(f"Two models are named, {named!r} and {values.model!r}. Leave out one.")
    values.model = named


class ModelOrParameters(argparse.Action):
    """``-m``: a model's name, or, as Jupyter AI has it, parameters as a JSON object."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        text = str(values)
        if re.match(_AN_OBJECT, text):
            _take(namespace, text, option_string or "-m")
        else:
            setattr(namespace, self.dest, our_name(text))


class Parameters(argparse.Action):
    """``--model-parameters``: a JSON object."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        _take(namespace, str(values), option_string or "--model-parameters")


def _take(namespace: argparse.Namespace, text: str, option: str) -> None:
    """Set the options that the object names, and gather the rest of it as ``model_parameters``.

    These are named as the request's own; what no request knows is the model's, and goes into ``extra``, as
    does what stands in LangChain's ``model_kwargs``.
    """
    found = _parsed(text, option)
    ours = dict(namespace.model_parameters)
    extra = dict(ours.get("extra", {}))
    for name, value in found.items():
        if name == "stop":
            namespace.stop = [value] if isinstance(value, str) else value
        elif name in ("temperature", "max_tokens", "seed", "system"):
            setattr(namespace, name, value)
        elif name in OF_REQUESTS:
            ours[name] = value
        elif name in ("extra", "model_kwargs") and isinstance(value, Mapping):
            extra.update(value)
        else:
            extra[name] = value
    namespace.model_parameters = {**ours, **({"extra": extra} if extra else {})}


def _parsed(text: str, option: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidRequestError(f"{option} {text!r} is not valid JSON: {error}.") from None
    if not isinstance(found, dict):
        raise InvalidRequestError(
            f'{option} {text!r} is no JSON object. Write parameters by name, as in {{"temperature": 0.2}}.'
        )
    return found
