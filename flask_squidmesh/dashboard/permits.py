"""Whether what somebody asked to have done with many runs may still be done, asked for each run as its turn comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import current_app
from werkzeug.exceptions import HTTPException

from ..errors import RunNotFoundError
from ..reading.judging import judged
from ..runtime.bulk import Item, Job
from ..runtime.runtime import current_runtime
from ..store.scope import Scope
from . import access
from .access import Dashboard, Question
from .hooks import Deny

Ask = Callable[[Question], Deny | None]


def objection(job: Job, item: Item) -> str | None:
    """Why it may not be done while the person is not there; None where it may, and for a job that no page has begun."""
    mount = job.mount
    if mount is None:
        return None
    with current_runtime().in_context():
        try:
            scope = access.scope_of(job.actor, mount)
        except HTTPException as error:
            return str(error.description)
        return _objection(job, item, lambda question: access.refusal_of(job.actor, mount, question), scope)


def notices() -> Iterator[tuple[str, str]]:
    """What the host should know of its hooks, as subjects and texts."""
    for mount in current_app.blueprints.values():
        if isinstance(mount, Dashboard) and mount.authorize and not mount.authorize.declares("actor"):
            yield (
                "rights",
                f"{mount.authorize} of the dashboard {mount.name!r} does not take `actor`, so it cannot be asked while "
                "nobody is at the page: what a worker would go on with of an action on many runs is refused. Add actor "
                "to its parameters.",
            )


def own_objection(job: Job, item: Item) -> str | None:
    """Why it may not be done by the person whose request this is, and whose job it is; None where it may."""
    return _objection(job, item, access.refusal_here, access.current_scope())


def _objection(job: Job, item: Item, ask: Ask, scope: Scope | None) -> str | None:
    """scope: what they may know of now; None for what they might when they asked."""
    runtime = current_runtime()
    with runtime.database.read() as connection:
        found = judged(connection, runtime.registry, job.scope, [item.run_id])
    if not found:
        return None  # the call itself says that there is no such run
    run, decision = found[0].run, _decision(found[0].decisions, item.step)
    if scope is not None and not scope.admits(run.tenant, run.workflow):
        return str(RunNotFoundError(run.id))
    asked = Question(action=job.action, run=run, permission=decision.get("permission"), step=item.step)
    for denied in map(ask, (Question(action="view", run=run), asked)):
        if denied is not None:
            return str(denied.reason)
    return None


def _decision(decisions: Mapping[str, Mapping[str, Any]], step: str | None) -> Mapping[str, Any]:
    return decisions.get(step or "") or {}
