"""Finds keys and passwords where the user keeps them. Settings hold only the names of the variables.

A secret is looked for in the environment, in the dotenv files, and in the system's keyring where the package
``keyring`` is installed. What a dotenv file holds goes neither into the environment nor into the settings.
"""

from __future__ import annotations

import contextlib
import os
import threading
from time import monotonic
from typing import Any

from farm_notebook.config import files
from farm_notebook.config.settings import FarmConfig
from farm_notebook.errors import ConfigError, MissingExtraError

__all__ = ["SERVICE", "find_hub_token", "find_secret", "forget_in_keyring", "keep_in_keyring"]

SERVICE = "farm-notebook"  # the keyring's word for whose secrets these are; its user is the variable's name
KEYRING_TTL_S = 30.0  # a keyring may be another process, asked over a bus
KEYRING_TIMEOUT_S = 10.0
_HUB_TOKEN = ("HF_TOKEN", "HUGGINGFACE_TOKEN")


def find_secret(variable: str | None, config: FarmConfig) -> str:
    """What a variable holds, looked up anew each time, so that a key can be changed while the kernel runs.

    Args:
        variable: Its name; ``None`` is none.
        config: The settings; they say which environment's dotenv file counts.

    Returns:
        The secret without the white space around it; empty where there is none.
    """
    return _find((variable,), config) if variable else ""


def find_hub_token(config: FarmConfig) -> str:
    """The key of the Hugging Face hub, by the first of its two names that holds one."""
    return _find(_HUB_TOKEN, config)


def keep_in_keyring(variable: str, secret: str) -> str:
    """Put a secret into the system's keyring.

    Returns:
        The name of the keyring.

    Raises:
        MissingExtraError: ``keyring`` is not installed.
        ConfigError: There is no keyring, or it refuses.
    """
    keyring = _keyring()
    try:
        keyring.set_password(SERVICE, variable, secret)
    except Exception as error:  # noqa: BLE001 - whatever its backend raises
        raise _refused(error, secret) from None
    _asked.pop(variable, None)
    return str(keyring.get_keyring().name)


def forget_in_keyring(variable: str) -> bool:
    """Take a secret out of the system's keyring.

    Returns:
        Whether it was there.

    Raises:
        MissingExtraError: ``keyring`` is not installed.
        ConfigError: There is no keyring, or it refuses.
    """
    keyring = _keyring()
    try:
        if keyring.get_password(SERVICE, variable) is None:
            return False
        keyring.delete_password(SERVICE, variable)
    except Exception as error:  # noqa: BLE001 - whatever its backend raises
        raise _refused(error) from None
    _asked.pop(variable, None)
    return True


def _find(names: tuple[str, ...], config: FarmConfig) -> str:
    for name in names:
        if found := os.environ.get(name, "").strip():
            return found
    for name in names:
        if found := _from_dotenv(name, config.environment):
            return found
    return next((found for name in names if (found := _from_keyring(name))), "")


def _from_dotenv(variable: str, environment: str) -> str:
    """From the files of here, else from those of where settings were read last."""
    for folder in dict.fromkeys((files.working_folder(), files.last_folder())):
        for name in (environment, None) if folder is not None else ():
            assert folder is not None
            try:
                path = files.find_dotenv(folder, name)
                found = files.read_dotenv(path).variables().get(variable, "") if path else ""
            except ConfigError:  # which reading the settings tells of
                continue
            if found := found.strip():
                return found
    return ""


_asked: dict[str, tuple[float, str]] = {}  # by variable: until when what the keyring said is believed


def _from_keyring(variable: str) -> str:
    until, known = _asked.get(variable, (0.0, ""))
    if monotonic() < until:
        return known
    found: list[str] = []

    def ask() -> None:
        with contextlib.suppress(Exception):  # not installed, locked, or away: then there is no secret in it
            import keyring

            found.append((keyring.get_password(SERVICE, variable) or "").strip())

    # In a thread, as it may wait for a password that nobody types.
    asking = threading.Thread(target=ask, name="farm-keyring", daemon=True)
    asking.start()
    asking.join(KEYRING_TIMEOUT_S)
    _asked[variable] = monotonic() + KEYRING_TTL_S, found[0] if found else ""
    return _asked[variable][1]


def _keyring() -> Any:
    try:
        import keyring
    except ImportError as error:
        raise MissingExtraError(
            f'The system\'s keyring needs a package ({error}). Run: pip install "farm-notebook[keyring]"'
        ) from error
    return keyring


def _refused(error: Exception, secret: str = "") -> ConfigError:
    """In the keyring's own words, but for the secret."""
    words = str(error).replace(secret, "***") if secret else str(error)
    return ConfigError(f"The system's keyring cannot be used: {type(error).__name__}: {words}")
