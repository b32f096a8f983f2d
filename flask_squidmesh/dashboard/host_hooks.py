"""What the dashboard asks of the host, and the one place where the answers are checked.

An answer that makes no sense, and a hook that raises, is told to the host's developer in the log, and counts as the
answer that opens and shows the least.

A hook declares only the keywords that it wants to be told, which no signature can say; so these hold its answer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol

from flask import Request, has_request_context, request
from sqlalchemy.exc import InterfaceError, OperationalError
from werkzeug.exceptions import HTTPException

from ..definition.tenants import NO_TENANT, tenant_id
from ..definition.values import is_storable
from ..errors import FilterError, ManualActionError
from ..hooks import Hook, HookFault, HookKind
from ..people import Person, normal
from ..runtime.app_check import CheckResult
from ..runtime.command_arguments import actor_of
from ..storage.scope import Scope
from ..storage.summaries import RunSummary

Path = tuple[str | int, ...]


class _Redacted(str):
    """Stands for a hidden value: text in JSON, a mark on a page."""

    __slots__ = ()


REDACTED: Final = _Redacted("[redacted]")
Replace = Callable[[Path, object], object]
Hides = Callable[[Path], bool]


def redacted(value: object, *, hides: Hides, replace: Replace | None = None, path: Path = ()) -> object:
    """The value without what must not be seen.

    hides(path): whether the value under the last key of the path is hidden whole. replace(path, value): the host's say
    on every value, called from the outside in. path: where the value stands.
    """
    if replace is not None:
        value = replace(path, value)
    match value:
        case Mapping():
            return {str(key): _member(item, hides, replace, (*path, str(key))) for key, item in value.items()}
        case list() | tuple():
            return [
                redacted(item, hides=hides, replace=replace, path=(*path, index)) for index, item in enumerate(value)
            ]
        case _:
            return value


def _member(item: object, hides: Hides, replace: Replace | None, path: Path) -> object:
    if item is not None and hides(path):
        return REDACTED
    return redacted(item, hides=hides, replace=replace, path=path)


logger = logging.getLogger("flask_squidmesh")

KINDS: Final[Mapping[str, HookKind]] = {
    kind.name: kind
    for kind in (
        HookKind(
            name="authorize",
            order=("action", "run", "permission"),
            more=("workflow", "tenant", "step", "option", "actor"),
            expected='True, False or Deny("why not")',
        ),
        HookKind(name="actor", expected='text, a mapping with an "id", a Person, or None where nobody acts'),
        HookKind(name="redact", order=("path", "value", "run"), expected="what JSON can hold, or REDACTED"),
        HookKind(
            name="links",
            order=("run",),
            expected="pairs of a label and an address, both text, http, https, mailto or relative",
            yields=True,
        ),
        HookKind(name="csp_nonce", expected="a nonce, text of letters, digits and the characters +/-_="),
        HookKind(
            name="scope",
            more=("actor",),
            expected="Scope(tenants=[...]), Scope(workflows=[...]), or Scope.all() for every run",
        ),
        HookKind(
            name="authenticate",
            order=("request",),
            expected='text, a mapping with an "id", a Person, or None where it is nobody',
        ),
        HookKind(name="tenant", expected="the tenant as text, or None or '' where there is none"),
        HookKind(name="people", more=("run", "step"), expected="Persons", yields=True),
    )
}
OWN_ANSWERS: Final = (HTTPException, OperationalError, InterfaceError)
_NONCE: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_MOST_LINKS: Final = 50
_MOST_PEOPLE: Final = 500
_BLANK: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ufeff]")
_SCHEME: Final = re.compile(r"([^/?#:]*):")
_SCHEMES: Final = ("http", "https", "mailto")
_TOLD: Final = "squidmesh.told_of_hooks"


@dataclass(frozen=True, slots=True)
class Deny:
    """A refusal with words: `reason` is one sentence that the refused person reads."""

    reason: str

    def __bool__(self) -> bool:
        return False


class Hooks:
    """What a host gives to its mounts of the dashboard, by the names of KINDS; each may be left out.

    Raises ConfigurationError for a function that cannot be called as its kind is.
    """

    authorize: Hook | None = None
    actor: Hook | None = None
    redact: Hook | None = None
    links: Hook | None = None
    csp_nonce: Hook | None = None
    tenant: Hook | None = None
    scope: Hook | None = None
    people: Hook | None = None

    def __init__(self, **functions: Callable[..., object] | None) -> None:
        for name, function in functions.items():
            if function is not None:
                self.give(name, function)

    def give(self, name: str, function: Callable[..., object]) -> None:
        """Take a hook in. Raises ConfigurationError for one that cannot be called as its kind is."""
        setattr(self, name, Hook(KINDS[name], function))


def notices(given: Hooks) -> Iterator[CheckResult]:
    """What the hooks, or the lack of them, mean that the host may not have meant."""
    if given.scope is None:
        yield CheckResult(
            subject="scope",
            text='There is no hook `scope`, so whoever has the right "list" knows of the runs of every tenant and '
            "workflow. Give mesh.scope to narrow that; a hook that returns Scope.all() says that it is meant.",
            notice=True,
        )


def verdict(hook: Hook, given: Mapping[str, object]) -> bool | Deny:
    """What `authorize` says: True, False, or a Deny with a reason that can be shown and kept.

    Raises HookFault, and what the hook raises as an answer of its own: an HTTPException such as that of `abort(401)`,
    or that the database is out of reach.
    """
    answer = _asked(hook, given, OWN_ANSWERS)
    if isinstance(answer, bool):
        return answer
    if not isinstance(answer, Deny):
        raise hook.unfit(answer)
    reason = _words(answer.reason)
    return Deny(reason) if reason else False


def person(hook: Hook, most: int) -> object:
    """Who acts, as it is recorded; None for nobody. most: bytes of it as JSON. Raises HookFault."""
    answer = _asked(hook, {})
    try:
        return actor_of(answer, most)
    except ManualActionError as error:
        raise HookFault(f"{hook} named nobody who could be recorded: {error}") from error


def caller(hook: Hook, asked: Request, most: int) -> tuple[object, frozenset[str]]:
    """Who sends a program's request, as recorded, and their groups; None for nobody. most: as for `person`.

    Raises HookFault, and what the hook answers by raising.
    """
    answer = _asked(hook, {"request": asked}, OWN_ANSWERS)
    try:
        return actor_of(answer, most), _groups_of(answer)
    except ManualActionError as error:
        raise HookFault(f"{hook} named nobody who could be recorded: {error}") from error


def groups(hook: Hook) -> frozenset[str]:
    """The groups of who acts, as a Person names them; none for others, and where the hook fails."""
    try:
        answer = _asked(hook, {})
    except HookFault:
        return frozenset()
    return _groups_of(answer)


def _groups_of(answer: object) -> frozenset[str]:
    named = answer.groups if isinstance(answer, Person) else ()
    return frozenset(normal(each) for each in named if isinstance(each, str))


def tenant(hook: Hook) -> str:
    """Whose runs are started within this request. Raises HookFault, and what the hook answers by raising."""
    answer = _asked(hook, {}, OWN_ANSWERS)
    try:
        return NO_TENANT if answer is None else tenant_id(answer)
    except ValueError as error:
        raise HookFault(f"{hook} answered what is no tenant: {error}") from error


def scope(hook: Hook, actor: object) -> Scope:
    """Which runs the actor may know of. Raises HookFault, and what the hook answers by raising."""
    try:
        answer = _asked(hook, {"actor": actor}, (*OWN_ANSWERS, FilterError))
    except FilterError as error:
        raise HookFault(f"{hook} made no scope: {error}") from error
    if not isinstance(answer, Scope):
        raise hook.unfit(answer)
    return answer


def replacement(hook: Hook, path: Path, value: object, run: RunSummary | None) -> object:
    """What is shown in place of the value; what the hook does not answer well is hidden. run: None of an event that has
    reached none."""
    try:
        answer = _asked(hook, {"path": path, "value": value, "run": run})
        if answer is not value and not isinstance(answer, str | int | float | list | tuple | Mapping | None):
            raise hook.unfit(answer)
    except HookFault as fault:
        tell(fault)
        return REDACTED
    return answer


def links(hook: Hook, run: RunSummary) -> list[tuple[str, str]]:
    """The links to show with a run; what is none is left out."""
    found: list[tuple[str, str]] = []
    try:
        for item in islice(_items(hook, {"run": run}), _MOST_LINKS):
            pair = [_words(each) for each in item] if isinstance(item, tuple | list) else []
            if len(pair) == 2 and all(pair) and leads_to_a_page(pair[1]):
                found.append((pair[0], pair[1]))
            else:
                tell(hook.unfit(item))
    except HookFault as fault:
        tell(fault)
    return found


def people(hook: Hook, run: RunSummary | None, step: str | None) -> list[Person]:
    """Who can be given what waits there; who is none is left out."""
    found: list[Person] = []
    try:
        for item in islice(_items(hook, {"run": run, "step": step}), _MOST_PEOPLE):
            if isinstance(item, Person) and isinstance(item.id, str) and is_storable(id := normal(item.id)) and id:
                found.append(Person(id, _words(item.label) or id))
            else:
                tell(hook.unfit(item))
    except HookFault as fault:
        tell(fault)
    return found


def leads_to_a_page(address: str) -> bool:
    """Whether a browser takes the address for one of http, https or mailto, or for a relative one, and runs nothing.

    Browsers look for the scheme once they have left out blanks and control characters.
    """
    scheme = _SCHEME.match(_BLANK.sub("", address))
    return scheme is None or scheme[1].lower() in _SCHEMES


def nonce(hook: Hook) -> str | None:
    """The nonce of the host's policy for this response; None where there is none."""
    try:
        answer = _asked(hook, {})
        if not isinstance(answer, str) or not _NONCE.fullmatch(answer):
            raise hook.unfit(answer)
    except HookFault as fault:
        tell(fault)
        return None
    return str(answer)


def tell(fault: HookFault) -> None:
    """Tell the host's developer, once a request."""
    if has_request_context():
        told: set[str] = request.environ.setdefault(_TOLD, set())
        if str(fault) in told:
            return
        told.add(str(fault))
    logger.error("squidmesh: %s", fault, exc_info=fault.__cause__)


def _asked(hook: Hook, given: Mapping[str, object], own: tuple[type[Exception], ...] = ()) -> object:
    """What the hook answers. Raises HookFault for what it raises, unless that is an answer of its own."""
    try:
        return hook.ask(**given)
    except HookFault:
        raise
    except own:
        raise
    except Exception as error:
        raise hook.raised(error) from error


def _items(hook: Hook, given: Mapping[str, object]) -> Iterator[object]:
    """What the hook answers, one after another. Raises HookFault, also where a generator raises halfway."""
    answer = _asked(hook, given)
    if answer is None:
        return
    if not isinstance(answer, Iterable) or isinstance(answer, str | bytes | Mapping):
        raise hook.unfit(answer)
    try:
        yield from answer
    except Exception as error:
        raise hook.raised(error) from error


def _words(text: object) -> str:
    """Text of the host's as it can be sent and stored, late translations included; "" for what is none."""
    try:
        shown = text if isinstance(text, str) else str(text) if hasattr(text, "__html__") else ""
    except Exception:
        return ""
    sendable = shown.encode(errors="replace").decode().replace("\0", "")
    return (shown if sendable == shown else sendable) if shown.strip() else ""


class AuthorizeHook(Protocol):
    """Whether somebody may do something; it may declare any of `action, run, permission, workflow, tenant, step,
    option, actor`."""

    def __call__(self, *args: Any, **kwargs: Any) -> bool | Deny:
        """True, False, or a Deny with the reason."""


class ActorHook(Protocol):
    """Who is at the page."""

    def __call__(self) -> str | Mapping[str, object] | Person | None:
        """Text, a mapping with an `id`, a Person; None for nobody."""


class RedactHook(Protocol):
    """What pages show of a value; it may declare any of `path, value, run`."""

    def __call__(self, *args: Any, **kwargs: Any) -> object:
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


class AuthenticateHook(Protocol):
    """Who sends a request to the API, by what the request itself says: a header, a client certificate."""

    def __call__(self, request: Request) -> str | Mapping[str, object] | Person | None:
        """Text, a mapping with an `id`, a Person; None for nobody, who gets 401."""


class PeopleHook(Protocol):
    """Who can be given what waits; it may declare `run` and `step`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Iterable[Person] | None:
        """Persons, each of whom is offered by their label and recorded by their id; None for none."""
