"""Values that modules name when they are imported and that stand in the app's configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import current_app

from .errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the app, such as `Setting("PAY_SECRET")`, which is read from `app.config` when it is used."""

    name: str


Text = str | Setting | Callable[[], str]
"""Text, the setting that holds it, or a function that answers it."""


def text_of(given: Text, what: str) -> str:
    """The text, within an app context. what: it, as an error calls it; its value is never quoted.

    Raises:
        ConfigurationError: It is missing, empty, or no text.
    """
    if isinstance(given, Setting):
        found, where = current_app.config.get(given.name), f"the setting {given.name}"
    elif callable(given):
        found, where = given(), "the function for it"
    else:
        found, where = given, "the text for it"
    if not isinstance(found, str) or not found:
        raise ConfigurationError(f"{what}: {where} holds no text. Set it in the app's configuration.")
    return found


def number_of(given: int | Setting, what: str) -> int:
    """The number, within an app context. what: it, as an error calls it.

    Raises:
        ConfigurationError: It is missing, or no number.
    """
    found = current_app.config.get(given.name) if isinstance(given, Setting) else given
    if not isinstance(found, int):
        raise ConfigurationError(f"{what}: the setting holds no number. Set it in the app's configuration.")
    return found
