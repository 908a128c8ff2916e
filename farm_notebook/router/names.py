"""What a name stands for, as far as the settings alone can tell. Nothing is asked of anyone here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from farm_notebook.config import AUTO, AliasConfig, FarmConfig, ParametersConfig
from farm_notebook.errors import ConfigError, InvalidRequestError
from farm_notebook.providers import disabled_provider, is_enabled, is_provider, unknown_provider
from farm_notebook.router.hints import alias_hint, briefly
from farm_notebook.types import Balance, Capability, Deployment, ModelRef, Route

__all__ = ["Resolution", "is_dynamic", "is_known", "look_up", "resolve"]

_SEPARATOR = re.compile(r"[:/]")
_NOTHING: Mapping[Any, Any] = MappingProxyType({})
_plain_route = lru_cache(maxsize=256)(Route)  # every request has one, and most have one of a few


class Resolution(NamedTuple):
    """What a name stands for.

    Args:
        ref: The model; of several deployments the first. ``is_dynamic`` where the moment has to tell which.
        route: How it was found, and who else may answer.
        parameters: What its aliases say about a request where the caller does not, by name.
        skipped: Models that were left out, with the reason.
    """

    ref: ModelRef
    route: Route
    parameters: Mapping[str, Any] = _NOTHING
    skipped: Mapping[ModelRef, str] = _NOTHING


class _Meaning(NamedTuple):
    """A name's own meaning: what its alias and the aliases behind that say, and not yet who stands in."""

    ref: ModelRef
    reason: str
    deployments: tuple[Deployment, ...] = ()
    balance: Balance = "weighted"
    fallback: tuple[str, ...] | None = None
    parameters: Mapping[str, Any] = _NOTHING
    needs: frozenset[Capability] = frozenset()
    context_tokens: int | None = None

    @property
    def refs(self) -> tuple[ModelRef, ...]:
        return tuple(place.ref for place in self.deployments) or (self.ref,)


def is_dynamic(ref: ModelRef) -> bool:
    """Whether only the moment can tell which model this is: any, any of a provider, or any provider's."""
    return AUTO in (ref.provider, ref.model)


def is_known(name: str, config: FarmConfig) -> bool:
    """Whether a name says itself where it leads, and is not just taken for a model of the default provider.

    Raises:
        FarmError: An alias of that name leads nowhere.
    """
    return _known(name.strip(), config, ()) is not None


def resolve(name: str | None, config: FarmConfig) -> ModelRef:
    """The model behind a name; see ``look_up``."""
    if isinstance(name, str) and (ref := _explicit(name.strip(), config)):
        return _enabled(ref, config)
    return look_up(name, config).ref


def look_up(name: str | None, config: FarmConfig) -> Resolution:
    """What a name stands for: ``provider:model``, ``provider/model``, an alias, a provider, or a model of the
    default provider.

    The name is split at its first ``:`` or ``/``, and only where a provider's name stands before it, so
    that ``smollm2:135m`` and ``./models/x.gguf`` stay whole.

    Args:
        name: What the user wrote; ``None`` is what ``routing`` names for the environment, else ``model``.
        config: The settings.

    Raises:
        InvalidRequestError: The name is empty or no text, or names a provider with an empty model.
        UnknownProviderError: The configured default names no provider.
        ConfigError: Aliases go round in a circle, or the provider is switched off.
    """
    if name is None:
        written, (target, setting) = "", _default_name(config)
        reason = f"the setting {setting} names it"
    else:
        written = target = _checked(name, config)
        reason = "it was named"
    if not config.fallback.chain and (ref := _explicit(target, config)):  # as nearly all are
        return Resolution(_enabled(ref, config), _plain_route(written, reason))
    meaning = _default(config, ()) if name is None else _meaning(written, config, ())
    skipped: dict[ModelRef, str] = {}
    refs = _switched_on(meaning.refs, config, skipped)
    if not refs:
        raise disabled_provider(meaning.ref.provider, config)
    alternates = _switched_on(_chain(target, meaning, config), config, skipped)
    route = Route(
        written,
        meaning.reason,
        deployments=tuple(place for place in meaning.deployments if place.ref in refs and len(refs) > 1),
        balance=meaning.balance,
        alternates=tuple(ref for ref in alternates if ref not in refs),
        needs=meaning.needs,
        context_tokens=meaning.context_tokens,
    )
    return Resolution(refs[0], route, meaning.parameters, skipped)


def _checked(name: object, config: FarmConfig) -> str:
    if not isinstance(name, str):
        raise InvalidRequestError(f"{name!r} is not a model's name. Name one, as in {config.model!r}.")
    if not (name := name.strip()):
        raise InvalidRequestError(f"The model's name is empty. Name one, as in {config.model!r}.")
    return name


def _explicit(name: str, config: FarmConfig) -> ModelRef | None:
    """``provider:model``, where what stands first is a provider and something stands behind it."""
    ref = _parted(name)
    if ref is None or not (is_provider(ref.provider, config) or ref.provider == AUTO):
        return None
    return ref


@lru_cache(maxsize=256)
def _parted(name: str) -> ModelRef | None:
    """A name at its first separator, where something stands behind that."""
    provider, *model = _SEPARATOR.split(name, maxsplit=1)
    return ModelRef(provider, model[0]) if model and model[0] else None


def _meaning(name: str, config: FarmConfig, path: tuple[str, ...]) -> _Meaning:
    """What a name says; ``path`` are the aliases that led to it."""
    if known := _known(name, config, path):
        return known
    if (bare := name.rstrip(":/")) != name and is_provider(bare, config):
        raise InvalidRequestError(
            f"{bare!r} is a provider; name one of its models too, as in '{bare}:MODEL', or none and no "
            f"{name[len(bare) :]!r} for its default. `farm models` lists them."
        )
    default, setting = _default_name(config)
    if default in path:
        raise ConfigError(
            f"The alias {path[-1]!r} stands for {name!r}, a model of the default provider; but the setting "
            f"{setting} names that alias. Write the provider too, as in 'PROVIDER:{name}'."
        )
    provider = _default(config, path).ref.provider
    return _Meaning(ModelRef(provider, name), f"{name!r} is a model of the default provider")


def _known(name: str, config: FarmConfig, path: tuple[str, ...]) -> _Meaning | None:
    """What a name says that does not lean on the default provider."""
    if ref := _explicit(name, config):
        return _Meaning(ref, "it was named")
    if name == AUTO:
        return _Meaning(ModelRef(AUTO, AUTO), "whatever model is at hand")
    if alias := config.aliases.get(name):
        return _of_alias(name, alias, config, path)
    if is_provider(name, config):
        model = getattr(config.section(name), "default_model", None)
        reason = f"{name} was named, and " + ("its default_model is" if model else "no default_model is set")
        return _Meaning(ModelRef(name, model or AUTO), reason)
    return None


def _of_alias(name: str, alias: AliasConfig, config: FarmConfig, path: tuple[str, ...]) -> _Meaning:
    """An alias, over what it stands for: the outer one's word counts, and the needs of both."""
    if name in path:
        circle = " -> ".join((*path[path.index(name) :], name))
        raise ConfigError(f"Aliases go round in a circle: {circle}. Have one of them name a model.")
    path = (*path, name)
    if alias.model is None:
        places = tuple(_places(alias, config, path))
        inner = _Meaning(places[0].ref, "", places if len(places) > 1 else (), alias.balance)
    else:
        inner = _meaning(alias.model, config, path)
    windows = [tokens for tokens in (alias.context_tokens, inner.context_tokens) if tokens is not None]
    return inner._replace(
        reason=f"the alias {name!r} stands for it",
        fallback=inner.fallback if alias.fallback is None else alias.fallback,
        parameters=_merged(inner.parameters, alias.parameters),
        needs=inner.needs | alias.needs,
        context_tokens=max(windows, default=None),
    )


def _places(alias: AliasConfig, config: FarmConfig, path: tuple[str, ...]) -> Iterator[Deployment]:
    """The deployments of an alias, each model once; one that has deployments itself passes its share on."""
    weights: dict[ModelRef, float] = {}
    for place in alias.deployments:
        meaning = _meaning(place.model, config, path)
        parts = meaning.deployments or (Deployment(meaning.ref),)
        whole = sum(part.weight for part in parts)
        for part in parts:
            weights[part.ref] = weights.get(part.ref, 0.0) + place.weight * part.weight / whole
    return (Deployment(ref, weight) for ref, weight in weights.items())


def _merged(inner: Mapping[str, Any], outer: ParametersConfig) -> Mapping[str, Any]:
    given = {
        name: value for name in ParametersConfig.model_fields if (value := getattr(outer, name)) is not None
    }
    if "extra" in given:
        given["extra"] = {**inner.get("extra", {}), **given["extra"]}
    return {**inner, **given}


def _default_name(config: FarmConfig) -> tuple[str, str]:
    """What is asked where no model is named, and the setting that says so."""
    if name := config.routing.get(config.environment):
        return name, f"routing.{config.environment}"
    return config.model, "model"


def _default(config: FarmConfig, path: tuple[str, ...]) -> _Meaning:
    name, setting = _default_name(config)
    meaning = _known(name.strip(), config, path)
    if meaning is None and setting != "model" and (known := _known(config.model.strip(), config, path)):
        meaning = _Meaning(ModelRef(known.ref.provider, name), "")
    if meaning is None:
        error = unknown_provider(_SEPARATOR.split(name, maxsplit=1)[0], config)
        hint = alias_hint(name, config)
        error.args = (f"{error} The setting {setting} is {name!r}.{hint and ' '}{hint}",)
        raise error
    return meaning._replace(reason=f"the setting {setting} names {_quoted(name, meaning.ref)}")


def _quoted(name: str, ref: ModelRef) -> str:
    return "it" if name == str(ref) else repr(name)


def _chain(name: str, meaning: _Meaning, config: FarmConfig) -> Iterator[ModelRef]:
    """Who may stand in, in order, each once."""
    if config.fallback.enabled:
        chain = config.fallback.chain if meaning.fallback is None else meaning.fallback
        yield from dict.fromkeys(_flat(chain, config, {name}))


def _flat(chain: Iterable[str], config: FarmConfig, seen: set[str]) -> Iterator[ModelRef]:
    """The models of a chain; behind an alias that has a chain of its own come the models of that one."""
    for name in chain:
        if name not in seen:
            seen.add(name)
            meaning = _meaning(name.strip(), config, ())
            yield from meaning.refs
            yield from _flat(meaning.fallback or (), config, seen)


def _enabled(ref: ModelRef, config: FarmConfig) -> ModelRef:
    if not is_enabled(ref.provider, config):
        raise disabled_provider(ref.provider, config)
    return ref


def _switched_on(
    refs: Iterable[ModelRef], config: FarmConfig, skipped: dict[ModelRef, str]
) -> list[ModelRef]:
    """Those whose provider may be used; of the others ``skipped`` is told."""
    found = []
    for ref in refs:
        if is_enabled(ref.provider, config):
            found.append(ref)
        else:
            skipped[ref] = briefly(disabled_provider(ref.provider, config))
    return found
