"""Who is told of what: the host's subscribers and channels, as they are registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Final, cast

from .definition.values import is_storable
from .definition.workflow import Workflow
from .errors import ConfigurationError, given
from .hooks import Hook, HookFault, HookKind
from .notices import NOTICE_KINDS, Channel, Notice, NoticeKind

LONGEST_NAME: Final = 200
MOST_RECEIVERS: Final = 10_000
LONGEST_DIGEST: Final = timedelta(hours=12)

Receivers = Iterable[str] | str | None
"""Whom a notice goes to, as `to` answers it."""
To = Callable[..., Receivers] | Sequence[str] | str

_WHILE: Final = "by a thread of a worker"
_SUBSCRIBER: Final = HookKind(name="subscribe", order=("notice",), expected="nothing", asked=_WHILE)
_CHANNEL: Final = HookKind(name="add_channel", order=("notice", "receiver"), expected="nothing", asked=_WHILE)
_TO: Final = HookKind(
    name="add_channel(to=...)",
    order=("notice",),
    expected="text such as an address, several of them, or None for nobody",
    yields=True,
    asked=_WHILE,
)


class CallableChannel:
    """A function of the host's that tells of one notice."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    def send(self, receiver: str, notices: Sequence[Notice]) -> None:
        """Call the function for each notice."""
        for notice in notices:
            self._hook.ask(notice=notice, receiver=receiver)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Somebody who is told of notices.

    name: by which what is written for it finds it. workflows: only of these, by their names and former names; None for
    all. to: answers whom a notice goes to, or says it for all; None where that is for the channel to know. digest: for
    how long what one receiver gets is gathered. own_code: whether it is the host's own function, which workers call and
    a relay does not.
    """

    name: str
    kinds: frozenset[NoticeKind]
    workflows: frozenset[str] | None
    channel: Channel
    to: Hook | tuple[str, ...] | None = None
    digest: timedelta | None = None
    own_code: bool = False

    def receivers(self, notice: Notice) -> list[str]:
        """Whom the notice goes to, each once.

        Raises:
            HookFault: `to` answered something else.
        """
        if not isinstance(self.to, Hook):
            return [*(self.to or ())]
        answer = self.to.ask(notice=notice)
        listed: Any = [] if answer is None else [answer] if isinstance(answer, str) else answer
        if not isinstance(listed, Iterable) or isinstance(listed, bytes | dict):
            raise self.to.unfit(answer)
        found = dict.fromkeys(map(_receiver, listed))
        if None in found:
            raise HookFault(
                f"{self.to} answered a receiver that is none; each is text of 1 to {LONGEST_NAME} characters."
            )
        if len(found) > MOST_RECEIVERS:
            raise HookFault(
                f"{self.to} answered {len(found):,} receivers; a notice goes to {MOST_RECEIVERS:,} at most."
            )
        return [each for each in found if each is not None]


class Subscriptions:
    """All of them, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Subscription] = {}
        self._by_kind: dict[str, list[Subscription]] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> Subscription | None:
        """The subscription of this name."""
        return self._by_name.get(name)

    def to(self, kind: NoticeKind, workflow: str | None) -> list[Subscription]:
        """Those who are told of this kind of the workflow of this name; None for what is of no workflow."""
        chosen = self._by_kind.get(kind, ())
        return [each for each in chosen if each.workflows is None or workflow in each.workflows]

    def with_channels(self, instead: Callable[[Subscription], Channel]) -> Subscriptions:
        """The same, with other channels; the host's own functions stay."""
        made = Subscriptions()
        for each in self:
            made._add(each if each.own_code else replace(each, channel=instead(each)))
        return made

    def add_subscriber(self, function: Callable[..., object], kinds: object, workflow: object, name: object) -> None:
        """Have the function called. Raises ConfigurationError."""
        call = "mesh.subscribe"
        hook = Hook(_SUBSCRIBER, function)
        self._add(
            Subscription(
                name=_name(call, name, function),
                kinds=_kinds(call, kinds),
                workflows=_workflows(call, workflow),
                channel=CallableChannel(hook),
                own_code=True,
            )
        )

    def add_channel(
        self, channel: object, on: object, to: object, digest: object, workflow: object, name: object
    ) -> None:
        """Have the channel used. Raises ConfigurationError."""
        call = "mesh.add_channel"
        self._add(
            Subscription(
                name=_name(call, name, channel),
                kinds=_kinds(call, (on,) if isinstance(on, str) else on),
                workflows=_workflows(call, workflow),
                channel=_channel(channel),
                to=_to(to),
                digest=_digest(digest),
            )
        )

    def _add(self, subscription: Subscription) -> None:
        if subscription.name in self._by_name:
            raise ConfigurationError(
                f"There is a subscription or a channel {subscription.name!r} already. Give each a name of its own with "
                "name=, by which what is to be told finds it after a deploy too."
            )
        self._by_name[subscription.name] = subscription
        for kind in subscription.kinds:
            self._by_kind.setdefault(kind, []).append(subscription)


def _name(call: str, name: object, thing: object) -> str:
    """The name that was given, else that of the function or of the channel's class."""
    if name is None:
        module, qualname = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
        name = f"{module}.{qualname}" if module and qualname else type(thing).__name__
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME or not is_storable(name):
        raise ConfigurationError(f"{call}: name={given(name)} is no text of 1 to {LONGEST_NAME} characters.")
    return name


def _kinds(call: str, kinds: object) -> frozenset[NoticeKind]:
    chosen = [*kinds] if isinstance(kinds, Iterable) and not isinstance(kinds, str) else [kinds]
    offered = f"Offered are: {', '.join(NOTICE_KINDS)}."
    if not chosen:
        raise ConfigurationError(f"{call}: it says of what to tell by at least one kind. {offered}")
    for kind in chosen:
        if kind not in NOTICE_KINDS:
            close = get_close_matches(kind, NOTICE_KINDS, n=1) if isinstance(kind, str) else []
            meant = f" Did you mean {close[0]}?" if close else ""
            raise ConfigurationError(f"{call}: there is no kind {given(kind)}.{meant} {offered}")
    return frozenset(cast(Iterable[NoticeKind], chosen))


def _workflows(call: str, workflow: object) -> frozenset[str] | None:
    if workflow is None:
        return None
    single = isinstance(workflow, str | type) or not isinstance(workflow, Iterable)
    names = set[str]()
    for each in [workflow] if single else [*workflow]:  # type: ignore[misc]
        if isinstance(each, str) and each:
            names.add(each)
        elif isinstance(each, type) and issubclass(each, Workflow) and (spec := vars(each).get("__squidmesh__")):
            names.update(spec.names)
        else:
            raise ConfigurationError(f"{call}: workflow={given(each)} is neither a workflow class nor a name of one.")
    if not names:
        raise ConfigurationError(f"{call}: workflow= names none. Leave it out for all workflows.")
    return frozenset(names)


def _channel(channel: object) -> Channel:
    if isinstance(channel, type):
        raise ConfigurationError(
            f"mesh.add_channel takes a channel, found the class {channel.__name__}. Make one of it."
        )
    if callable(getattr(channel, "send", None)):
        return cast(Channel, channel)
    if callable(channel):
        return CallableChannel(Hook(_CHANNEL, channel))
    raise ConfigurationError(
        f"mesh.add_channel takes a channel, or a function of notice and receiver, found a {type(channel).__name__}."
    )


def _to(to: object) -> Hook | tuple[str, ...] | None:
    if to is None:
        return None
    if callable(to):
        return Hook(_TO, to)
    listed = [to] if isinstance(to, str) or not isinstance(to, Iterable) else [*to]
    found = dict.fromkeys(map(_receiver, listed))
    if None in found or not found:
        raise ConfigurationError(
            "mesh.add_channel: to= is a function of the notice, or text such as an address, or several of them."
        )
    return tuple(each for each in found if each is not None)


def _digest(digest: object) -> timedelta | None:
    if digest is None or (isinstance(digest, timedelta) and timedelta(0) < digest <= LONGEST_DIGEST):
        return digest
    raise ConfigurationError("mesh.add_channel: digest= is a timedelta of more than nothing and at most 12 hours.")


def _receiver(found: object) -> str | None:
    """The receiver without blanks around it; None where it is none."""
    text = str.__str__(found).strip() if isinstance(found, str) else ""
    return text if 0 < len(text) <= LONGEST_NAME and is_storable(text) and text.isprintable() else None
