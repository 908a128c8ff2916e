"""A provider that says what it is told to: deterministic answers and failures on cue, for tests and docs.

Its model's name is the script:

    echo            repeats the last message word by word; images are counted and named before it
    count-N         says N numbered words
    slow-N          the same, with a pause before each
    sample-N        says N words, drawn by seed, temperature and top_p; as count-N at temperature 0
    think-N         thinks N words, then does as echo
    call-NAME       calls the tool NAME, or the first one; told its result, does as echo
    fail-N          breaks after N words
    truncate-N      ends after N words without a finish mark
    stall-N         goes silent after N words
    error-KIND      fails before the first word; a KIND is an HTTP status or a name of ``failures.ERRORS``
    error-KIND-S    the same, and asks to wait S seconds before the next try

Any script calls a tool when ``tool_choice`` says so, with the prompt as its arguments where that looks like a
JSON object, and else the smallest that its parameters allow; answers a schema with the smallest value that
satisfies it; thinks when ``reasoning`` says so; and pauses before each word for ``extra={"delay_s": 0.1}``.
A word is a token.
"""

from __future__ import annotations

from farm_notebook.providers.scripted.provider import EMBEDDING_WIDTH, ScriptedProvider

__all__ = ["EMBEDDING_WIDTH", "ScriptedProvider"]
