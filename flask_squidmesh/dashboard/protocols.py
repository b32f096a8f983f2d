"""The hooks of a host, as a type checker sees them.

A hook declares only the keywords that it wants to be told, which no signature can say; so these hold its answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ..people import Person
from ..store.scope import Scope
from .hooks import Deny


class AuthorizeHook(Protocol):
    """Whether somebody may do something; it may declare any of `action, run, permission, workflow, tenant, step,
    option, actor`."""

    def __call__(self, *args: Any, **kwargs: Any) -> bool | Deny:
        """True, False, or a Deny with the reason."""


class ActorHook(Protocol):
    """Who is at the page."""

    def __call__(self) -> str | Mapping[str, Any] | Person | None:
        """Text, a mapping with an `id`, a Person; None for nobody."""


class RedactHook(Protocol):
    """What pages show of a value; it may declare any of `path, value, run`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The value, what is shown in its place, or REDACTED."""


class LinksHook(Protocol):
    """Where else a run can be looked at; it may declare `run`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Iterable[tuple[str, str]] | None:
        """Pairs of a label and an address; None for none."""


class NonceHook(Protocol):
    """The nonce of the host's content security policy."""

    def __call__(self) -> str:
        """The nonce of the current response."""


class TenantHook(Protocol):
    """Whose runs are started within the current request."""

    def __call__(self) -> str | None:
        """The tenant; None or "" for nobody's."""


class ScopeHook(Protocol):
    """Which runs the person at the page may know of; it may declare `actor`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Scope:
        """The scope, of tenants and workflows, or Scope.all()."""
