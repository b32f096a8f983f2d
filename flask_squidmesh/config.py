"""The SQUIDMESH_* settings, read once into frozen values.

A setting of the wrong kind or an unknown key is a fault, found when the app is made. What the app still lacks for
working, such as an executor, is found at first use (`host_requirements`), so that migrations can be run before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from difflib import get_close_matches
from math import isfinite
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from .catalogues import LOCALES
from .errors import ConfigurationError
from .secret_names import SECRET_KEYS

KEY_PREFIX: Final = "SQUIDMESH_"
DASHBOARD_PREFIX: Final = "SQUIDMESH_DASHBOARD_"
READING_ACTIONS: Final = ("list", "tasks", "view", "payload", "export", "audit")
WRITING_ACTIONS: Final = (
    *("start", "approve", "reject", "decide", "take", "assign", "note"),
    *("resume", "reschedule", "cancel", "replay", "replay_irreversible"),
    *("retry", "resolve", "fail", "retry_compensation", "acknowledge"),
    *("bulk", "bulk_any", "schedule_run", "schedule_pause", "tell_again", "reveal", "send_event"),
)
ACTIONS: Final = (*READING_ACTIONS, *WRITING_ACTIONS)


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _SettingKind(Generic[T]):
    """What a setting must be. `read` raises TypeError or ValueError where a value does not fit."""

    expected: str
    read: Callable[[object], T]


def _fits(condition: bool) -> None:
    if not condition:
        raise ValueError


def _of(kind: type[T], value: object) -> T:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError
    return value


def _read_text(value: object) -> str:
    text = _of(str, value)
    _fits(text.strip() != "")
    return str(text)


def _read_switch(value: object) -> bool:
    return _of(bool, value)


def _read_count(value: object) -> int:
    count = _read_whole(value)
    _fits(count >= 1)
    return count


def _read_whole(value: object) -> int:
    return int(_of(int, value))


def _read_seconds(value: object) -> float:
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    else:
        seconds = float(value if isinstance(value, float) else _of(int, value))
    _fits(isfinite(seconds) and seconds >= 0)
    return seconds


def _read_positive_seconds(value: object) -> float:
    seconds = _read_seconds(value)
    _fits(seconds > 0)
    return seconds


def _read_object(value: object) -> object:
    """What is given itself, or as the text that leads to it."""
    if isinstance(value, str):
        _fits(value.strip() != "")
    else:
        _fits(isinstance(value, type) or type(value).__module__ != "builtins")
    return value


def _read_prefix(value: object) -> str:
    _fits(isinstance(value, str) and re.fullmatch(r"(/[^/\s]+)+", value) is not None)
    return str(value)


def _read_external_url(value: object) -> str:
    text = _read_text(value).rstrip("/")
    parts = urlsplit(text)
    _fits(parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment))
    _fits(text.isprintable() and " " not in text and parts.username is None)
    return text


def _read_timezone(value: object) -> str:
    return ZoneInfo(_read_text(value)).key


def _listed(read: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    def read_all(value: object) -> tuple[T, ...]:
        if not isinstance(value, list | tuple | set | frozenset):
            raise TypeError
        return tuple(map(read, value))

    return read_all


def _mapped(read: Callable[[object], T]) -> Callable[[object], dict[str, T]]:
    def read_all(value: object) -> dict[str, T]:
        if not isinstance(value, Mapping):
            raise TypeError
        return {_read_text(key): read(item) for key, item in value.items()}

    return read_all


def _read_sizes(value: object) -> tuple[int, ...]:
    sizes = _listed(_read_count)(value)
    _fits(len(sizes) > 0)
    return sizes


def _read_action(value: object) -> str:
    _fits(value in ACTIONS)
    return str(value)


def _read_locale(value: object) -> str:
    _fits(value in LOCALES)
    return str(value)


def _read_pattern(value: object) -> re.Pattern[str]:
    try:
        return re.compile(_read_text(value), re.IGNORECASE)
    except re.error:
        raise ValueError from None


def _read_period(value: object) -> timedelta | None:
    return None if value is None else timedelta(seconds=_read_positive_seconds(value))


def _read_retention(value: object) -> Mapping[str, timedelta | None]:
    if isinstance(value, Mapping):
        return _mapped(_read_period)(value)
    return dict.fromkeys(("completed", "failed", "cancelled"), _read_period(value))


def _read_policy(value: object) -> Literal["auto"] | Mapping[str, str]:
    return "auto" if value == "auto" else _mapped(_read_text)(value)


def _or_none(kind: _SettingKind[T]) -> _SettingKind[T | None]:
    return _SettingKind(f"{kind.expected}, or None", lambda value: None if value is None else kind.read(value))


_TEXT = _SettingKind("text that is not empty", _read_text)
_SWITCH = _SettingKind("True or False", _read_switch)
_COUNT = _SettingKind("a whole number, 1 or more", _read_count)
_WHOLE = _SettingKind("a whole number", _read_whole)
_SECONDS = _SettingKind("a number of seconds, 0 or more", _read_seconds)
_POSITIVE_SECONDS = _SettingKind("a number of seconds above 0", _read_positive_seconds)
_EXECUTOR = _SettingKind('an import string such as "shop.jobs:ShopExecutor", a class or an instance', _read_object)
_APP = _SettingKind('an import string such as "shop.jobs:queue", or the App itself', _read_object)
_PREFIX = _SettingKind('a path such as "/squidmesh", without a slash at its end', _read_prefix)
_EXTERNAL_URL = _SettingKind('an address such as "https://shop.example.org"', _read_external_url)
_TIMEZONE = _SettingKind('the name of a time zone such as "Europe/Berlin"', _read_timezone)
_LOCALE = _SettingKind(f"one of {', '.join(LOCALES)}", _read_locale)
_ACTIONS = _SettingKind(f"a list of actions, each one of {', '.join(ACTIONS)}", _listed(_read_action))
_SIZES = _SettingKind("a list of whole numbers, 1 or more, not empty", _read_sizes)
_PATTERNS = _SettingKind("a list of regular expressions", _listed(_read_pattern))
_RETENTION = _SettingKind(
    "a timedelta, or a mapping of statuses or workflow names to timedelta (None keeps for ever)", _read_retention
)
_POLICY = _SettingKind('"auto", or a mapping of directives to text', _read_policy)


def _setting(kind: _SettingKind[T], default: T) -> T:
    return field(default=default, metadata={"kind": kind})


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardConfig:
    """The SQUIDMESH_DASHBOARD_* settings; each key is the name of the field in capitals.

    title: shown in the header and the tab. environment: a badge beside it, such as "staging". back_url: where the
    header leads back to. read_only: no page offers or takes an action. disabled_actions: actions that are never
    offered or taken. timezone: in which times are shown. locale: the language; None asks Flask-Babel or the browser.
    poll_list, poll_run: seconds between refreshes of lists and of a run. page_sizes: what a list offers; the first is
    the default. count_limit: beyond it a count reads "10,000+". bulk_limit: how many runs one action may take.
    query_timeout_ms: milliseconds after which a search is given up (PostgreSQL). payload_inline_limit: bytes of a
    value that are shown at once. redact_keys: patterns of names whose values are hidden, case aside.
    comment_required: actions that need words.
    csp: "auto", a policy by directive, or None for no header. shortcuts: whether keys act.
    """

    title: str = _setting(_TEXT, "Workflows")
    environment: str | None = _setting(_or_none(_TEXT), None)
    back_url: str | None = _setting(_or_none(_TEXT), None)
    read_only: bool = _setting(_SWITCH, False)
    disabled_actions: tuple[str, ...] = _setting(_ACTIONS, ())
    timezone: str = _setting(_TIMEZONE, "UTC")
    locale: str | None = _setting(_or_none(_LOCALE), None)
    poll_list: float = _setting(_POSITIVE_SECONDS, 5.0)
    poll_run: float = _setting(_POSITIVE_SECONDS, 2.0)
    page_sizes: tuple[int, ...] = _setting(_SIZES, (25, 50, 100))
    count_limit: int = _setting(_COUNT, 10_000)
    bulk_limit: int = _setting(_COUNT, 500)
    query_timeout_ms: int = _setting(_COUNT, 3_000)
    payload_inline_limit: int = _setting(_COUNT, 16_384)
    redact_keys: tuple[re.Pattern[str], ...] = _setting(_PATTERNS, _PATTERNS.read(SECRET_KEYS))
    comment_required: tuple[str, ...] = _setting(_ACTIONS, ("reject", "cancel", "replay_irreversible"))
    csp: Literal["auto"] | Mapping[str, str] | None = _setting(_or_none(_POLICY), "auto")
    shortcuts: bool = _setting(_SWITCH, True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The SQUIDMESH_* settings; each key is the name of the field in capitals. Periods are in seconds.

    executor: "database", an import string, a class or an instance; None where it is not set yet. queue: name of the
    queue that the ready-made executors use. url_prefix: where the dashboard is mounted; None for none. external_url:
    how the app is reached from outside, for addresses in messages. bind: the Flask-SQLAlchemy bind that holds the
    tables; None for the default one. dev_worker: a worker inside `flask run`. claim_timeout: after which a claim that
    nobody renewed is taken over. max_abandoned: attempts lost in a row before a run pauses as interrupted.
    stale_step_timeout: after which a step may be reclaimed although its worker lives; None for never. delivery_steps,
    delivery_seconds: how much of a chain one delivery may do. max_payload_bytes: of one payload or output as JSON.
    retention: how long ended runs are kept, by status or workflow name, the workflow's own period first; None keeps
    all. key_retention: for which the start key of a run that was pruned is remembered. event_retention: for which
    events are kept, and can be taken. notice_retention: for which it is remembered what was told. poll_interval:
    between a worker's looks where nothing wakes it. procrastinate_app: the host's own Procrastinate App; None to have
    one made. procrastinate_priority: of the jobs among those of the same queue. celery_app: the host's Celery app; None
    where it is `app.extensions["celery"]`.
    """

    executor: object = _setting(_or_none(_EXECUTOR), None)
    queue: str = _setting(_TEXT, "squidmesh")
    url_prefix: str | None = _setting(_or_none(_PREFIX), "/squidmesh")
    external_url: str | None = _setting(_or_none(_EXTERNAL_URL), None)
    bind: str | None = _setting(_or_none(_TEXT), None)
    dev_worker: bool = _setting(_SWITCH, False)
    claim_timeout: float = _setting(_POSITIVE_SECONDS, 30.0)
    max_abandoned: int = _setting(_COUNT, 3)
    stale_step_timeout: float | None = _setting(_or_none(_SECONDS), None)
    delivery_steps: int = _setting(_COUNT, 25)
    delivery_seconds: float = _setting(_POSITIVE_SECONDS, 30.0)
    max_payload_bytes: int = _setting(_COUNT, 1_000_000)
    retention: Mapping[str, timedelta | None] | None = _setting(_or_none(_RETENTION), None)
    key_retention: float = _setting(_SECONDS, 2_592_000.0)
    notice_retention: float = _setting(_SECONDS, 604_800.0)
    event_retention: float = _setting(_POSITIVE_SECONDS, 604_800.0)
    poll_interval: float = _setting(_POSITIVE_SECONDS, 1.0)
    procrastinate_app: object = _setting(_or_none(_APP), None)
    procrastinate_priority: int = _setting(_WHOLE, 0)
    celery_app: object = _setting(_or_none(_APP), None)
    dashboard: DashboardConfig = field(default_factory=DashboardConfig)


def _keys(owner: type[Config | DashboardConfig], prefix: str) -> dict[str, tuple[str, _SettingKind[object]]]:
    return {prefix + each.name.upper(): (each.name, each.metadata["kind"]) for each in fields(owner) if each.metadata}


_DASHBOARD_KEYS = _keys(DashboardConfig, DASHBOARD_PREFIX)
_KEYS = _keys(Config, KEY_PREFIX)
KEYS: Final = (*_KEYS, *_DASHBOARD_KEYS)


def read_config(settings: Mapping[str, object]) -> Config:
    """The SQUIDMESH_* settings in an app's configuration; all others are left alone.

    Raises ConfigurationError that names every unknown key and every value of the wrong kind, at once. Values are
    never quoted, for they may be secrets.
    """
    faults = [*_unknown(settings)]
    values = _read(_KEYS, settings, faults)
    dashboard = _read(_DASHBOARD_KEYS, settings, faults)
    if faults:
        raise ConfigurationError(*faults)
    return Config(**values, dashboard=DashboardConfig(**dashboard))


def _unknown(settings: Mapping[str, object]) -> Iterator[str]:
    names = [key.removeprefix(KEY_PREFIX) for key in KEYS]
    for key in sorted(key for key in settings if key.startswith(KEY_PREFIX) and key not in KEYS):
        close = get_close_matches(key.removeprefix(KEY_PREFIX), names, n=1)
        advice = f"Did you mean {KEY_PREFIX}{close[0]}?" if close else "Remove it, or look its name up in the docs."
        yield f"{key} is not a setting of Squid Mesh. {advice}"


def _read(
    keys: Mapping[str, tuple[str, _SettingKind[object]]], settings: Mapping[str, object], faults: list[str]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, (name, kind) in keys.items():
        if key not in settings:
            continue
        try:
            values[name] = kind.read(settings[key])
        except (TypeError, ValueError, LookupError, OverflowError):
            faults.append(f"{key}: found {_found(settings[key])}, expected {kind.expected}.")
    return values


def _found(value: object) -> str:
    """What kind of thing the value is, without the value where it could be a secret."""
    match value:
        case None | bool() | int() | float():
            return repr(value)
        case str():
            return "text that does not fit" if value.strip() else "empty text"
        case Sequence() | Mapping() | set():
            return f"a {type(value).__name__} that does not fit"
        case type():
            return "a class"
        case _:
            return f"a {type(value).__name__}"
