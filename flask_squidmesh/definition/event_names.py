"""Names and keys of events as workflows write them, and the event that cancels a run."""

from __future__ import annotations

import re
from typing import Final

from ..secret_names import is_secret
from . import state_expressions
from .elements import CancelOn
from .spec import CancelOnSpec

EVENT_NAME: Final = re.compile(r"[\w.:/-]{1,200}")


def name_problem(name: object) -> str | None:
    """What is wrong with the name of an event; None if nothing is."""
    if isinstance(name, str) and EVENT_NAME.fullmatch(name):
        return None
    return (
        f"{name!r} is no name of an event; write 1 to 200 letters, digits, underscores, dots, hyphens, colons or "
        "slashes, as 'payment.settled'"
    )


def key_problems(key: object) -> list[str]:
    """What is wrong with the key of an event that is awaited, one clause each; empty if nothing is."""
    faults = state_expressions.people_problems(key)
    if faults or not isinstance(key, str):
        return [f"the key {fault}" for fault in faults]
    read = state_expressions.paths(key)
    if not read:
        return [f'the key {key!r} is the same for every run; name what tells them apart, as key="{{order_id}}"']
    hidden = sorted({".".join(path) for path in read if any(map(is_secret, path))})
    return [
        f"the key names {{{path}}}, which is a secret, and keys are shown; take something else that tells runs apart"
        for path in hidden
    ]


def read_cancel_on(value: object, problems: list[str]) -> CancelOnSpec | None:
    """The event that cancels a run; None where nothing says."""
    if value is None:
        return None
    if not isinstance(value, CancelOn):
        problems.append(
            f'cancel_on={value!r} must be a CancelOn; write cancel_on=CancelOn("order.withdrawn", key="{{order_id}}")'
        )
        return None
    name, keys = name_problem(value.name), key_problems(value.key)
    problems.extend(f"cancel_on: {fault}" for fault in (*([name] if name else []), *keys))
    if not isinstance(value.compensate, bool):
        problems.append(f"cancel_on: compensate={value.compensate!r} must be True or False")
    if name or keys:
        return None
    return CancelOnSpec(name=value.name, key=value.key, compensate=value.compensate is True)
