"""What holds where a cell's line says nothing: the traits behind ``%config FarmMagics``."""

from __future__ import annotations

from typing import Any, get_args

from traitlets import Bool, Enum, Float, Int, TraitError, TraitType, Unicode
from traitlets.config import Config, Configurable

from farm_notebook.errors import FarmError
from farm_notebook.notebook.options import FormatName
from farm_notebook.threads import DEFAULT_THREAD

__all__ = ["CellDefaults"]

OF_CELLS = ("temperature", "max_tokens", "system", "format", "thread", "confirm")
FORMATS = get_args(FormatName)


class DefaultModel(TraitType[str, str]):
    """The default farm's model, which is kept there and nowhere else: ``%farm model`` sets the same."""

    info_text = "the name of a model or an alias, as in 'llamacpp:smollm2:135m'"
    default_value = ""

    def validate(self, obj: Any, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            self.error(obj, value)
        return value

    def get(self, obj: Any, cls: Any = None) -> str:
        from farm_notebook.farm import default_farm

        try:
            config = default_farm().config
        except FarmError:  # a setting is wrong; the next request says which
            return ""
        return config.routing.get(config.environment, config.model)

    def set(self, obj: Any, value: object) -> None:
        from farm_notebook.farm import default_farm

        name = self.validate(obj, value)
        try:
            default_farm().use(name)
        except FarmError as error:
            raise TraitError(str(error)) from None

    def default_value_repr(self) -> str:
        return "as the settings say"


class CellDefaults(Configurable):
    """Defaults of one shell's magics. What a line says is stronger."""

    model = DefaultModel(
        help="The model that answers where a line names none; the same as `%farm model NAME`."
    ).tag(config=True)
    temperature = Float(
        None, allow_none=True, min=0, help="As -t. None leaves it to the alias and the model; 0 is greedy."
    ).tag(config=True)
    max_tokens = Int(None, allow_none=True, min=1, help="As --max-tokens: the longest answer.").tag(
        config=True
    )
    system = Unicode(None, allow_none=True, help="As -s: a system message for every request.").tag(
        config=True
    )
    format = Enum(FORMATS, FORMATS[0], help="As -f: what an answer is shown as.").tag(config=True)
    thread = Unicode(DEFAULT_THREAD, help="As --thread: the conversation that cells go on with.").tag(
        config=True
    )
    max_history = Int(
        None,
        allow_none=True,
        min=0,
        help="How many questions and answers of a conversation are sent; None: all.",
    ).tag(config=True)
    confirm = Bool(False, help="As --confirm: ask before a tool is called.").tag(config=True)
    embedding_model = Unicode(
        "", help="The model of `%farm embed` and `%farm similar`; empty is the one that answers, too."
    ).tag(config=True)

    def of_cells(self) -> dict[str, object]:
        """Those that somebody has set, by the names of the options' attributes."""
        found = {name: getattr(self, name) for name in OF_CELLS}
        return {name: value for name, value in found.items() if value != self.traits()[name].default_value}

    def update_config(self, config: Config) -> None:
        """For ``%config``: a mistyped name is refused, where traitlets would only log it."""
        known = self.class_traits(config=True)
        section = config.get(type(self).__name__, {})
        if unknown := [name for name in section if name not in known]:
            raise TraitError(
                f"FarmMagics has no {unknown[0]!r}. Valid: {', '.join(sorted(known))}. "
                "`%config FarmMagics` tells of each."
            )
        super().update_config(config)
