"""The table of providers: a name, and where its class is. A class is imported when it is first asked for.

Three things fill it: the classes built in here, those that installed packages name in the entry point group
``farm_notebook.providers``, and ``register_provider``. The configuration adds a name for each of its
OpenAI-compatible endpoints. A class registered in a running program takes a name over, since someone wrote it
to do so; a package never takes a name that is built in or configured. Installed packages are looked at only
for a name that nothing else has. ``ADDING_A_PROVIDER.md`` beside this file walks through it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from farm_notebook.config import ENV_PREFIX, EndpointConfig, FarmConfig
from farm_notebook.errors import ConfigError, FarmError, UnknownProviderError
from farm_notebook.providers.base import AIProvider
from farm_notebook.providers.packages import checked, installed, load_installed, packages_of
from farm_notebook.types import ProviderStatus

if TYPE_CHECKING:
    from farm_notebook.lifecycle.common import Lifecycle

__all__ = [
    "disabled_provider",
    "is_enabled",
    "is_provider",
    "is_replaced",
    "make_provider",
    "provider_names",
    "register_provider",
    "similar_provider",
    "takes_seed",
    "unknown_provider",
    "unused_providers",
]

P = TypeVar("P", bound=type[AIProvider])

_BUILT_IN = {
    "huggingface": "farm_notebook.providers.huggingface.provider:HuggingFaceProvider",
    "llamacpp": "farm_notebook.providers.llamacpp.provider:LlamaCppProvider",
    "openai": "farm_notebook.providers.openai.provider:OpenAIProvider",
    "ollama": "farm_notebook.providers.ollama.provider:OllamaProvider",
    "scripted": "farm_notebook.providers.scripted:ScriptedProvider",
}
_WITH_SECTION = tuple(name for name in _BUILT_IN if name in FarmConfig.model_fields)
_ENDPOINT = "farm_notebook.providers.openai.provider:OpenAIProvider"
_NAME = re.compile(r"[\w-]+")
_registered: dict[str, type[AIProvider]] = {}


def provider_names(config: FarmConfig) -> tuple[str, ...]:
    """Every name that can stand before the ``:`` of a model ref, without those that are switched off."""
    names = dict.fromkeys((*_BUILT_IN, *_registered, *config.endpoints, *installed()))
    return tuple(name for name in names if is_enabled(name, config))


def is_provider(name: str, config: FarmConfig) -> bool:
    """Whether ``name`` is a provider's, be it switched off or not."""
    if name in _BUILT_IN or name in _registered or name in config.endpoints:
        return True
    return _NAME.fullmatch(name) is not None and name in installed()


def is_enabled(name: str, config: FarmConfig) -> bool:
    """Whether a provider may be used; those without a section of settings always may."""
    if name in config.endpoints:
        return config.endpoints[name].enabled
    if name not in _WITH_SECTION:  # it may have the name of a section about something else
        return True
    return getattr(config, name).enabled is True


def takes_seed(name: str, config: FarmConfig) -> bool:
    """Whether a provider honours a seed, as far as the settings and classes of this program tell."""
    if name in _registered:
        return "seed" in _registered[name].honours
    section = config.section(name)
    if isinstance(section, EndpointConfig):
        return section.api != "responses" and "seed" not in section.lacks
    return True


def disabled_provider(name: str, config: FarmConfig) -> ConfigError:
    """The error for a provider that is switched off."""
    setting = f"endpoints.{name}.enabled" if name in config.endpoints else f"{name}.enabled"
    variable = ENV_PREFIX + setting.upper().replace(".", "__")
    return ConfigError(
        f"The provider {name!r} is switched off by the setting {setting}. Set it to true, as in "
        f"{variable}=true, or ask another one: {', '.join(sorted(provider_names(config)))}."
    )


def register_provider(provider: P) -> P:
    """Make a provider available under its ``name``; usable as a class decorator.

    A class of a name that is already there takes its place, also in farms that have used the old one: run a
    cell again, and the next request meets the new class.

    Raises:
        ConfigError: It is no subclass of ``AIProvider``, lacks some of its methods, or has no name.
    """
    _registered[checked(provider, f"What is to be registered as a provider, {provider!r},").name] = provider
    return provider


def is_replaced(provider: AIProvider) -> bool:
    """Whether another class was registered under its name since it was made."""
    return type(provider) is not _registered.get(provider.name, type(provider))


def make_provider(name: str, config: FarmConfig, lifecycle: Lifecycle | None = None) -> AIProvider:
    """The provider of a name, for a configuration.

    Args:
        name: Its name.
        config: The settings.
        lifecycle: What its models share with those of other providers; ``None`` is nothing.

    Raises:
        UnknownProviderError: Quoting the name, listing the valid ones.
        ConfigError: It is switched off, or an installed package's provider cannot be used.
    """
    provider = _made(name, config)
    if lifecycle is not None:
        provider.lifecycle = lifecycle
    return provider


def _made(name: str, config: FarmConfig) -> AIProvider:
    if not is_enabled(name, config):
        raise disabled_provider(name, config)
    if name in _registered:
        return _registered[name](config)
    if name in _BUILT_IN:
        return _load(_BUILT_IN[name])(config)
    if name in config.endpoints:
        return _load(_ENDPOINT)(config, name)
    if not is_provider(name, config):
        raise unknown_provider(name, config)
    provider = load_installed(name)
    try:
        return provider(config)
    except FarmError:
        raise
    except Exception as error:
        raise ConfigError(
            f"The provider {name!r} of the package {packages_of(name)[0]!r} cannot be made: "
            f"{type(error).__name__}: {error}. Update or uninstall that package."
        ) from error


def unknown_provider(name: str, config: FarmConfig) -> UnknownProviderError:
    """The error for a name that no provider has."""
    close = similar_provider(name, config, cutoff=0.6)
    hint = f" Did you mean {close!r}?" if close else ""
    names = ", ".join(sorted(provider_names(config)))
    return UnknownProviderError(f"No provider is called {name!r}. Valid: {names}.{hint}")


def similar_provider(name: str, config: FarmConfig, *, cutoff: float = 0.8) -> str | None:
    """The provider that a mistyped name was probably meant to be; ``cutoff`` 1 is the very same letters."""
    by_lower = {known.lower(): known for known in provider_names(config)}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None


def unused_providers(config: FarmConfig) -> list[ProviderStatus]:
    """What installed packages bring in vain, since its name is taken."""
    return [
        ProviderStatus(
            name,
            healthy=False,
            detail=f"a package brings a provider of this name, which is taken; it is not used: {package}",
            fix=f"pip uninstall {package}",
        )
        for name in installed()
        if name in _BUILT_IN or name in config.endpoints
        for package in packages_of(name)
    ]


@cache
def _load(place: str) -> Callable[..., AIProvider]:
    module, _, attribute = place.partition(":")
    provider: Callable[..., AIProvider] = getattr(import_module(module), attribute)
    return provider
