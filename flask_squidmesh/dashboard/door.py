"""The one door of every address: who may enter, whether the form is ours, and only then what it does.

What acts is reached by POST alone, behind `enter`, which asks for the right before the form is read, and behind the
token of the form.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any, Final, Generic, Protocol, TypeVar

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from ..runtime.runtime import current_runtime
from . import csrf, parameters

About = TypeVar("About")
URLENCODED: Final = "application/x-www-form-urlencoded"
_PLAIN_FIELDS: Final = 1_000
_PLAIN_BYTES: Final = 100_000
_ESCAPED: Final = 4  # a form spends up to three characters on a byte
_BYTES_A_RUN: Final = 200


class Address(Protocol):
    """One address of the dashboard."""

    @property
    def rule(self) -> str:
        """As Flask knows it, below the prefix."""

    @property
    def endpoint(self) -> str:
        """Its name for `url_for`."""

    @property
    def methods(self) -> list[str]:
        """The methods that it takes; HEAD goes with GET, OPTIONS is answered by Flask."""

    def answer(self, **values: Any) -> Any:
        """The view."""


@dataclass(frozen=True, slots=True)
class Page:
    """An address that only shows. show: asks for the right, and makes the page."""

    rule: str
    endpoint: str
    show: Callable[..., Any]

    @property
    def methods(self) -> list[str]:
        """What it takes."""
        return ["GET"]

    def answer(self, **values: Any) -> Any:
        """The page."""
        return self.show(**values)


@dataclass(frozen=True, slots=True)
class Form(Generic[About]):
    """An address that acts. enter: asks for the right from the address alone, before the form is read, and finds what
    it is about. send: acts. show: the page that asks; None where the form stands on another page.
    """

    rule: str
    endpoint: str
    enter: Callable[..., About]
    send: Callable[[About], Any]
    show: Callable[[About], Any] | None = None

    @property
    def methods(self) -> list[str]:
        """What it takes."""
        return ["GET", "POST"] if self.show else ["POST"]

    def answer(self, **values: Any) -> Any:
        """The page that asks, or for a POST with a form of ours what it came to."""
        about = self.enter(**values)
        if self.show and request.method != "POST":
            return self.show(about)
        check()
        return self.send(about)


def check() -> None:
    """Refuse a form that is too large, unreadable, or no form of ours.

    Raises RequestEntityTooLarge, Unreadable, and what `csrf.check` does.
    """
    parameters.check_form()
    csrf.check()


class FewFields(FormDataParser):
    """Takes no form apart that has more fields than one of ours can have; werkzeug limits those in parts alone."""

    def parse(self, stream: IO[bytes], mimetype: str, *given: Any, **named: Any) -> Any:
        """The form. Raises RequestEntityTooLarge."""
        if mimetype == URLENCODED:
            body = stream.read()
            if body.count(b"&") >= _most_fields():
                raise RequestEntityTooLarge
            stream = BytesIO(body)
        return super().parse(stream, mimetype, *given, **named)


def limit_body(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Have nobody, the host's own handlers included, read more of a body than a form of ours can have."""
    most = _most_bytes()
    given = request.max_content_length
    with suppress(AttributeError):  # Flask 3.0 takes it from the app's settings alone
        request.max_content_length = most if given is None else min(given, most)
    request.form_data_parser_class = FewFields
    request.max_form_memory_size = most
    request.max_form_parts = _most_fields()


def refuse_large() -> None:
    """Refuse a body that says itself that it is too large, before anything is asked. Raises RequestEntityTooLarge."""
    if (request.content_length or 0) > _most_bytes():
        raise RequestEntityTooLarge


def _most_bytes() -> int:
    settings = current_runtime().settings
    return _PLAIN_BYTES + _ESCAPED * settings.max_payload_bytes + _BYTES_A_RUN * settings.dashboard.bulk_limit


def _most_fields() -> int:
    return _PLAIN_FIELDS + current_runtime().settings.dashboard.bulk_limit
