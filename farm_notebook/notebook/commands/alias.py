"""``%farm alias``: other names for models, with what they say of a request; for this session."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.line import LineParser, suggestion
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.tables import Table

if TYPE_CHECKING:
    from farm_notebook.config import AliasConfig
    from farm_notebook.config.layers import Layer
    from farm_notebook.router import RouteDecision

__all__ = ["add_arguments", "run"]

OF_REQUESTS = ("system", "temperature", "max_tokens", "seed")


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="an alias; without it, list all of them")
    parser.suggest_names("name", "model")
    parser.add_argument("model", nargs="?", metavar="MODEL", help="what it is to stand for, in this session")
    parser.add_argument("--remove", action="store_true", help="take a name of this session away again")
    parser.add_argument(
        "--save", action="store_true", help="have it in every session: write it into farm.toml"
    )
    parser.add_argument("-s", "--system", metavar="TEXT", help="its system message")
    parser.add_argument("-t", "--temperature", type=float, metavar="T", help="its temperature")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="its longest answer, in tokens")
    parser.add_argument("--seed", type=int, metavar="N", help="its seed")


def run(
    session: Session, arguments: argparse.Namespace
) -> Table[tuple[str, AliasConfig]] | RouteDecision | None:
    """List them, tell of one, set one or take one away."""
    name, model = arguments.name, arguments.model
    if name is None:
        if option := next((each for each in ("remove", "save") if getattr(arguments, each)), None):
            raise InvalidRequestError(f"--{option} needs a name: `%farm alias NAME --{option}`.")
        return _table(session)
    if arguments.remove:
        _remove(session, name)
        return None
    given = {each: value for each in OF_REQUESTS if (value := getattr(arguments, each)) is not None}
    if model is None and arguments.save:
        model, kept = _as_it_stands(session, name)
        given = kept | given
    if model is None:
        if given:
            raise InvalidRequestError(
                f"What does {name!r} stand for? Name a model too: `%farm alias {name} MODEL`."
            )
        _known(session, name)
        return session.farm.route(name)
    _set(session, name, model, given, is_saved=arguments.save)
    return None


def _set(session: Session, name: str, model: str, given: dict[str, Any], *, is_saved: bool) -> None:
    """Have a name stand for a model; where it would lead nowhere, nothing is changed."""
    from farm_notebook.config import load_config
    from farm_notebook.config.editing import save_entry
    from farm_notebook.config.toml import as_key, as_toml
    from farm_notebook.notebook.jupyter_ai import our_name
    from farm_notebook.router import look_up

    farm, model = session.farm, our_name(model)
    settings = _settings(session)
    ours = settings.get("aliases", {})
    meant: dict[str, Any] = {"model": model, "parameters": given} if given else {"model": model}
    is_set_elsewhere = any(layer.source != "arguments" for layer in _setters(session, name))
    aliases = {**ours, name: _instead(model, given) if is_set_elsewhere else meant}
    ref = look_up(name, load_config({**settings, "aliases": aliases})).ref
    written = meant if given else model
    path = save_entry(Path.cwd(), "aliases", name, written) if is_saved else None
    settings["aliases"] = aliases  # in the place of what it held: reload would merge both
    farm.reload()
    leads = "" if str(ref) == model else f", which leads to {ref}"
    if path is not None:
        print(f"{name} stands for {model}{leads}, in every session that starts below {path.parent}: {path}")
    else:
        print(f"{name} stands for {model}{leads}, in this session. For every one: --save, or in farm.toml")
        print(f"below [aliases]: {as_key((name,))} = {as_toml(written)}")
    session.tell_doubt(name)


def _as_it_stands(session: Session, name: str) -> tuple[str, dict[str, Any]]:
    """The model that an alias names, and what it says of a request."""
    _known(session, name)
    alias = session.farm.config.aliases[name]
    if alias.model is None:
        raise InvalidRequestError(
            f"{name!r} stands for several models, and is set by {_origin(session, name)}. Change it there."
        )
    return alias.model, alias.parameters.model_dump(exclude_none=True)


def _settings(session: Session) -> dict[str, Any]:
    """What was set in this session, to be changed in its place."""
    settings = session.farm.core.settings
    return {} if settings is None else settings  # a farm that was made whole refuses to be reloaded


def _instead(model: str, given: dict[str, Any]) -> dict[str, Any]:
    """An alias that says everything that one can say, so that nothing stays of what a file says."""
    from farm_notebook.config import AliasConfig, ParametersConfig

    plain = AliasConfig(model=model).model_dump(exclude={"deployments"})
    return plain | {"parameters": dict.fromkeys(ParametersConfig.model_fields) | given}


def _remove(session: Session, name: str) -> None:
    farm = session.farm
    ours = _settings(session).get("aliases", {})
    if name not in ours:
        _known(session, name)
        raise InvalidRequestError(f"{name!r} is not of this session. It is set by {_origin(session, name)}.")
    del ours[name]
    farm.reload()
    again = (
        f"stands for {_target(farm.config.aliases[name])} again" if name in farm.config.aliases else "is gone"
    )
    print(f"{name} {again}.")


def _known(session: Session, name: str) -> None:
    aliases = session.farm.config.aliases
    if name not in aliases:
        hint = suggestion(name, aliases) if aliases else "There is none yet."
        raise InvalidRequestError(f"{name!r} is no alias. {hint} `%farm alias {name} MODEL` makes it one.")


def _table(session: Session) -> Table[tuple[str, AliasConfig]]:
    aliases = session.farm.config.aliases
    rows = ((name, _target(alias), _said(alias), _origin(session, name)) for name, alias in aliases.items())
    none = "There is no alias. `%farm alias NAME MODEL` makes one for this session."
    return Table(
        ("alias", "stands for", "says", "set by"),
        tuple(rows),
        tuple(aliases.items()),
        "" if aliases else none,
    )


def _target(alias: AliasConfig) -> str:
    return alias.model or ", ".join(place.model for place in alias.deployments)


def _said(alias: AliasConfig) -> str:
    given = alias.parameters.model_dump(exclude_none=True)
    return ", ".join(f"{name} {value}" for name, value in given.items())


def _origin(session: Session, name: str) -> str:
    """Who set an alias: this session, or a file."""
    setters = _setters(session, name)
    return setters[0].place(("aliases", name)) if setters[0].source != "arguments" else "this session"


def _setters(session: Session, name: str) -> list[Layer]:
    """What sets an alias, the strongest first."""
    from farm_notebook.config.load import load_with_sources

    layers = load_with_sources(session.farm.core.settings)[1].layers
    return [layer for layer in layers if layer.sets(("aliases", name))]
