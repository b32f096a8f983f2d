"""Who may see and do what: the host says, and nothing is open that it did not open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from flask import Blueprint, current_app, has_request_context, request
from jinja2 import Environment
from markupsafe import Markup
from werkzeug.exceptions import Forbidden, HTTPException
from werkzeug.wrappers import Response

from ..config import READING_ACTIONS
from ..definition.tenants import NO_TENANT
from ..engine.assignments import Claimant
from ..errors import ConfigurationError, RunNotFoundError
from ..hooks import Hook, HookFault
from ..people import identity
from ..queries.run_list import judged
from ..runtime.app_check import CheckResult
from ..runtime.bulk_jobs import BulkItem, BulkJobState
from ..runtime.command_arguments import actor_of
from ..runtime.runtime import current_runtime
from ..storage.scope import Scope
from ..storage.summaries import RunSummary
from . import host_hooks
from .endpoints import memory
from .host_hooks import Deny, Hooks
from .text.language import N_, _

if TYPE_CHECKING:
    from flask_login import LoginManager

NAMES: Mapping[str, str] = {
    "list": N_("list runs"),
    "tasks": N_("see your own tasks"),
    "view": N_("view a run"),
    "payload": N_("see payloads"),
    "export": N_("export"),
    "audit": N_("read the audit"),
    "start": N_("start"),
    "approve": N_("approve"),
    "reject": N_("reject"),
    "decide": N_("decide"),
    "take": N_("take a task"),
    "assign": N_("give tasks to others"),
    "note": N_("write a note"),
    "resume": N_("resume"),
    "cancel": N_("cancel"),
    "replay": N_("replay"),
    "replay_irreversible": N_("replay what cannot be undone"),
    "retry": N_("retry a step"),
    "resolve": N_("count a step as done"),
    "fail": N_("count a step as failed"),
    "retry_compensation": N_("try again to undo"),
    "acknowledge": N_("acknowledge"),
    "reschedule": N_("reschedule"),
    "bulk": N_("act on many runs"),
    "bulk_any": N_("see and stop what others do with many runs"),
    "schedule_run": N_("run a schedule now"),
    "schedule_pause": N_("pause a schedule"),
    "tell_again": N_("have somebody told again"),
    "reveal": N_("reveal hidden values"),
    "send_event": N_("send an event"),
}


def name_of_right(right: str) -> Markup:
    """The right in words; one that is not ours as it stands."""
    return _(NAMES[right]) if right in NAMES else Markup.escape(right)


OPTIONS = ("approve", "reject")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessQuestion:
    """What `authorize` is asked. action: one of `config.ACTIONS`. run: the one that it concerns, if any. permission:
    that of the open decision. workflow: of the run, the start or the schedule. tenant: whose it is. step: of the
    decision. option: what is taken there; of an approval the action says so.
    """

    action: str
    run: RunSummary | None = None
    permission: str | None = None
    workflow: str | None = None
    tenant: str = NO_TENANT
    step: str | None = None
    option: str | None = None

    def given_to(self, hook: Hook, actor: object) -> dict[str, object]:
        """What the hook is told of it. actor: who asks, as it is recorded."""
        values: Mapping[str, object] = {
            "action": self.action,
            "run": self.run,
            "permission": self.permission,
            "workflow": self.run.workflow if self.run is not None else self.workflow,
            "tenant": self.run.tenant if self.run is not None else self.tenant,
            "step": self.step,
            "option": self.option or (self.action if self.action in OPTIONS else None),
            "actor": actor,
        }
        return {name: value for name, value in values.items() if hook.declares(name)}


class Dashboard(Blueprint):
    """One mount: the hooks that count for it, and an `authorize` of its own if it has one.

    authenticate: says who sends a request, where programs do; None where people are at pages. templates: its
    environment for them, made when the first page is.
    """

    hooks: Hooks
    own_authorize: Hook | None
    authenticate: Hook | None = None
    templates: Environment | None = None

    @property
    def authorize(self) -> Hook | None:
        """What says who may do what on this mount."""
        return self.own_authorize or self.hooks.authorize


class Refused(Forbidden):
    """The person may not do this. run_id: what it was about, if it is about one run. `closed` where the host has
    opened the dashboard to nobody. `lacks_right` where a right that somebody could give is all that is missing.
    """

    def __init__(
        self,
        action: str,
        reason: str,
        *,
        run_id: str | None = None,
        closed: bool = False,
        lacks_right: bool = False,
    ) -> None:
        super().__init__(reason)
        self.action, self.reason, self.run_id = action, reason, run_id
        self.closed, self.lacks_right = closed, lacks_right


class MissingRight(Deny):
    """The refusal of somebody who lacks a right, in our words."""


def current_hooks() -> Hooks:
    """The hooks of the mount that answers the current request, but for an `authorize` of its own."""
    return _mount().hooks


def is_closed() -> bool:
    """Whether the host has opened the dashboard to nobody."""
    return _mount().authorize is None and not current_app.debug


def refusal(
    action: str,
    run: RunSummary | None = None,
    permission: str | None = None,
    *,
    workflow: str | None = None,
    step: str | None = None,
    option: str | None = None,
) -> Deny | None:
    """Why the person may not do this; None where they may."""
    return refusal_here(
        AccessQuestion(action=action, run=run, permission=permission, workflow=workflow, step=step, option=option)
    )


def refusal_here(asked: AccessQuestion) -> Deny | None:
    """Why the person of this request may not; None where they may."""
    try:
        return _denied(asked)
    except host_hooks.OWN_ANSWERS:
        return MissingRight(_needed(asked.action, asked.permission))


def refusal_of(actor: object, mount: str, asked: AccessQuestion) -> Deny | None:
    """Why the actor may not, where this is no request of theirs; None where they may.

    actor: as they are recorded. mount: the name of the dashboard at which they asked. Raises what says that the
    database is out of reach.
    """
    switched_off, found = _switched_off(asked.action), current_app.blueprints.get(mount)
    if switched_off:
        return Deny(switched_off)
    authorize = found.authorize if isinstance(found, Dashboard) else None
    if authorize is None:
        return None if found and current_app.debug else Deny(_("The dashboard has not been opened to anybody."))
    if not authorize.declares("actor"):
        return Deny(_("The app cannot be asked about somebody who is not at the page: its authorize takes no actor."))
    try:
        return judgement(authorize, asked, actor)
    except HTTPException:
        return MissingRight(_needed(asked.action, asked.permission))


def may(
    action: str,
    run: RunSummary | None = None,
    permission: str | None = None,
    *,
    workflow: str | None = None,
    step: str | None = None,
    option: str | None = None,
) -> bool:
    """Whether the person may do this."""
    return refusal(action, run, permission, workflow=workflow, step=step, option=option) is None


def require(
    action: str,
    run: RunSummary | None = None,
    permission: str | None = None,
    *,
    workflow: str | None = None,
    step: str | None = None,
    option: str | None = None,
) -> None:
    """Go on only if the person may do this.

    Raises Refused, which becomes a page with the reason, or the host's log-in for somebody who is not logged in; and
    what the host's hook answers by raising, as with `abort(401)`.
    """
    denied = _denied(
        AccessQuestion(action=action, run=run, permission=permission, workflow=workflow, step=step, option=option)
    )
    if denied is not None:
        raise Refused(
            action,
            denied.reason,
            run_id=run.id if run is not None else None,
            closed=is_closed(),
            lacks_right=isinstance(denied, MissingRight),
        )


def require_tasks() -> bool:
    """Go on only if the person may list runs, or at least see their own tasks; answer whether it is only these.

    Raises as `require`.
    """
    if may("list"):
        return False
    if not may("tasks"):
        require("list")
    return True


def may_see_task(run: RunSummary) -> bool:
    """Whether a task in this run may be shown to the person whose it is: also to who may only see tasks."""
    return may("view", run) or (not may("list") and may("tasks", run))


def tenant_by(given: Hooks) -> str:
    """Whose runs are started within this request; '' outside one and where the host does not say.

    Raises ConfigurationError where the hook answers what is no tenant, or raises.
    """
    if given.tenant is None or not has_request_context():
        return NO_TENANT
    try:
        return host_hooks.tenant(given.tenant)
    except HookFault as fault:
        raise ConfigurationError(str(fault)) from fault


def current_tenant() -> str:
    """Whose run is started by the person at the page: what the host says, else the only tenant of their scope. What a
    program names counts before both, and before what the host would say at a page, the only tenant.

    Raises Refused where the hook does not answer well, what it answers by raising, and as `current_scope`.
    """
    if (named := memory().tenant) is not None:
        return named
    hook, tenants = current_hooks().tenant, current_scope().tenants or ()
    if len(tenants) == 1 and (hook is None or _mount().authenticate is not None):
        return tenants[0]
    if hook is None:
        return NO_TENANT
    try:
        return host_hooks.tenant(hook)
    except HookFault as fault:
        raise _unsaid(fault, "start", _("The app could not say whose the run would be.")) from fault


def tenant_for(workflow: str) -> str:
    """The same for a start of this workflow. Raises Refused where whoever starts the run could not know of it."""
    tenant = current_tenant()
    if not current_scope().admits(tenant, workflow):
        raise Refused("start", _("The run would be one that you may not know of."))
    return tenant


def tenant_to_send() -> str:
    """The same for an event. Raises Refused where whoever sends it could not know of those that it reaches."""
    tenant, tenants = current_tenant(), current_scope().tenants
    if tenants is not None and tenant not in tenants:
        raise Refused("send_event", _("The event would reach runs that you may not know of."))
    return tenant


def current_scope() -> Scope:
    """Which runs the person may know of, asked once a request; all where the host does not say.

    Raises Refused where the hook does not answer well, and what it answers by raising, as with `abort(401)`.
    """
    known = memory()
    if known.scope is None:
        known.scope = _scope()
    return known.scope


def _scope() -> Scope:
    hook = current_hooks().scope
    if hook is None:
        return Scope.all()
    if _mount().authenticate is not None and not hook.declares("actor"):
        raise Refused("list", "The app cannot be asked which runs a program may know of: its scope takes no actor.")
    return _scope_by(hook, shown_actor() if hook.declares("actor") else None)


def narrow_scope(tenants: Iterable[str]) -> None:
    """Have the rest of this request know of the runs of these tenants alone, as far as the person may."""
    known = memory()
    known.scope = current_scope().of_tenants(tenants)


def scope_of(actor: object, mount: str) -> Scope | None:
    """Which runs the actor may know of, where this is no request of theirs; None where the host does not say, or cannot
    be asked about somebody who is not at the page. As `refusal_of`; raises as `current_scope`.
    """
    found = current_app.blueprints.get(mount)
    hook = found.hooks.scope if isinstance(found, Dashboard) else None
    return _scope_by(hook, actor) if hook is not None and hook.declares("actor") else None


def _scope_by(hook: Hook, actor: object) -> Scope:
    try:
        asked = host_hooks.scope(hook, actor)
    except HookFault as fault:
        raise _unsaid(fault, "list", _("The app could not say which runs you may know of.")) from fault
    return asked.following(current_runtime().registry)


def _unsaid(fault: HookFault, action: str, reason: str) -> Refused:
    """The refusal where a hook does not answer well, of which the host's developer is told."""
    host_hooks.tell(fault)
    return Refused(action, str(fault) if current_app.debug else reason)


def current_actor() -> object:
    """Who is recorded with an action: what the host says, else Flask-Login's user, else None.

    A hook that fails is told of in the log and names nobody.
    """
    try:
        return _actor()
    except HookFault as fault:
        host_hooks.tell(fault)
        return None


def shown_actor() -> object:
    """Who acts, to show or to note; None where the host cannot say, as of somebody who is not logged in."""
    try:
        return _actor()
    except HookFault:  # the hook is asked about somebody whom it need not know
        return None


def current_claimant() -> Claimant:
    """Who is at the page, as waits tell whose they are: their id and their groups."""
    if _mount().authenticate is not None:
        return Claimant(identity(memory().caller), memory().caller_groups)
    hook = current_hooks().actor
    return Claimant(identity(shown_actor()), host_hooks.groups(hook) if hook is not None else frozenset())


def login_instead() -> Response | None:
    """The host's log-in page for a person whom Flask-Login does not know; None where that is not the matter."""
    manager = _login_manager()
    if manager is None or is_closed():
        return None
    from flask_login import current_user

    if current_user.is_authenticated:
        return None
    try:
        return current_app.make_response(manager.unauthorized())
    except HTTPException as error:
        return error.get_response()


def _mount() -> Dashboard:
    return cast(Dashboard, current_app.blueprints[request.blueprint or ""])


def _denied(asked: AccessQuestion) -> Deny | None:
    """Why the current person may not; whether they may view a run is asked once a request. Raises what the hook answers
    by raising."""
    if asked.action != "view" or asked.run is None:
        return _denied_now(asked)
    known = memory().views
    if asked.run.id not in known:
        known[asked.run.id] = _denied_now(asked)
    return known[asked.run.id]


def _denied_now(asked: AccessQuestion) -> Deny | None:
    switched_off = _switched_off(asked.action)
    if switched_off:
        return Deny(switched_off)
    authorize = _mount().authorize
    if authorize is None:
        return Deny(_("The dashboard has not been opened to anybody.")) if is_closed() else None
    if _mount().authenticate is not None and not authorize.declares("actor"):
        return Deny("The app cannot be asked what a program may do: its authorize takes no actor.")
    told = _with_tenant(asked) if authorize.declares("tenant") else asked
    return judgement(authorize, told, shown_actor() if authorize.declares("actor") else None)


def _with_tenant(asked: AccessQuestion) -> AccessQuestion:
    """A start is asked about with the tenant that it would have. Raises as `current_tenant`."""
    return replace(asked, tenant=current_tenant()) if asked.action == "start" else asked


def judgement(authorize: Hook, asked: AccessQuestion, actor: object) -> Deny | None:
    """Why the actor may not; None where the hook says that they may. Raises what the hook answers by raising."""
    try:
        answer = host_hooks.verdict(authorize, asked.given_to(authorize, actor))
    except HookFault as fault:
        host_hooks.tell(fault)
        return Deny(str(fault) if current_app.debug else _("The app could not say whether you may do this."))
    if isinstance(answer, Deny):
        return answer
    return None if answer else MissingRight(_needed(asked.action, asked.permission))


def _actor() -> object:
    """Raises HookFault."""
    if _mount().authenticate is not None:
        return memory().caller
    hook, most = current_hooks().actor, current_runtime().settings.max_payload_bytes
    if hook is not None:
        return host_hooks.person(hook, most)
    if _login_manager() is not None:
        from flask_login import current_user

        id = current_user.get_id() if current_user.is_authenticated else None
        return None if id is None else actor_of(str(id), most)
    return "developer" if current_app.debug else None


def _login_manager() -> LoginManager | None:
    found: LoginManager | None = getattr(current_app, "login_manager", None)
    return found


def _switched_off(action: str) -> Markup | None:
    settings = current_runtime().settings.dashboard
    if action in READING_ACTIONS:
        return None
    if settings.read_only:
        return _("This dashboard is read-only.")
    if action in settings.disabled_actions:
        return _("This action is switched off here.")
    return None


def _needed(action: str, permission: str | None) -> str:
    if permission:
        return _("It needs the permission {permission}.", permission=permission)
    return _("You do not have the right “{action}”.", action=name_of_right(action))


Ask = Callable[[AccessQuestion], Deny | None]


def objection_while_away(job: BulkJobState, item: BulkItem) -> str | None:
    """Why it may not be done while the person is not there; None where it may, and for a job that no page has begun."""
    mount = job.mount
    if mount is None:
        return None
    with current_runtime().in_context():
        try:
            scope = scope_of(job.actor, mount)
        except HTTPException as error:
            return str(error.description)
        return _objection(job, item, lambda question: refusal_of(job.actor, mount, question), scope)


def notices() -> Iterator[CheckResult]:
    """What the host should know of its hooks."""
    for mount in current_app.blueprints.values():
        if not isinstance(mount, Dashboard):
            continue
        if mount.authenticate is not None:
            yield from _notices_of_api(mount)
        elif mount.authorize and not mount.authorize.declares("actor"):
            yield CheckResult(
                subject="rights",
                text=f"{mount.authorize} of the dashboard {mount.name!r} does not take `actor`, so it cannot be asked "
                "while nobody is at the page: what a worker would go on with of an action on many runs is refused. Add "
                "actor to its parameters.",
                notice=True,
            )


def _notices_of_api(mount: Dashboard) -> Iterator[CheckResult]:
    for name, hook in (("authorize", mount.authorize), ("scope", mount.hooks.scope)):
        if hook is not None and not hook.declares("actor"):
            yield CheckResult(
                subject="api",
                text=f"{hook} does not take `actor`, so it cannot be asked about programs, and the API {mount.name!r} "
                f"refuses everything. Add actor to the parameters of {name}.",
                notice=True,
            )


def own_objection(job: BulkJobState, item: BulkItem) -> str | None:
    """Why it may not be done by the person whose request this is, and whose job it is; None where it may."""
    return _objection(job, item, refusal_here, current_scope())


def _objection(job: BulkJobState, item: BulkItem, ask: Ask, scope: Scope | None) -> str | None:
    """scope: what they may know of now; None for what they might when they asked."""
    runtime = current_runtime()
    with runtime.database.read() as connection:
        found = judged(connection, runtime.registry, job.scope, [item.run_id])
    if not found:
        return None  # the call itself says that there is no such run
    run, decision = found[0].run, found[0].decisions.get(item.step or "")
    if scope is not None and not scope.admits(run.tenant, run.workflow):
        return str(RunNotFoundError(run.id))
    asked = AccessQuestion(
        action=job.action,
        run=run,
        permission=decision.get("permission") if decision else None,
        step=item.step,
        option=job.option,
    )
    for denied in map(ask, (AccessQuestion(action="view", run=run), asked)):
        if denied is not None:
            return str(denied.reason)
    return None
