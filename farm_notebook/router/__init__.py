"""From the name a user writes to the model that answers.

``look_up`` finds what a name stands for, out of the settings alone: an explicit ``provider:model``, else an
alias, a provider, or a model of the default provider; without a name what ``routing`` says for the
environment, else the setting ``model``. What only the moment can tell, such as which of an Ollama's models
there is, is left open in it. ``Chooser`` decides that for each request, on the farm's event loop, and
``explain`` tells how.
"""

from __future__ import annotations

from farm_notebook.router.chooser import Choice, Chooser
from farm_notebook.router.decision import RouteDecision, explain
from farm_notebook.router.doubts import doubt
from farm_notebook.router.hints import explaining
from farm_notebook.router.names import Resolution, is_dynamic, look_up, resolve

__all__ = [
    "Choice",
    "Chooser",
    "Resolution",
    "RouteDecision",
    "doubt",
    "explain",
    "explaining",
    "is_dynamic",
    "look_up",
    "resolve",
]
