"""The extension: registrations, and the calls that a host makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Literal, TypeVar, Unpack, overload

from flask import Blueprint, Flask
from pydantic import BaseModel

from . import cli
from .api import create_api
from .clock import Clock, SystemClock
from .commands import Commands
from .config import Config, read_config
from .dashboard import authorization, create_blueprint
from .dashboard.authorization import tenant_by
from .dashboard.host_hooks import (
    ActorHook,
    AuthenticateHook,
    AuthorizeHook,
    Hooks,
    LinksHook,
    NonceHook,
    PeopleHook,
    RedactHook,
    ScopeHook,
    TenantHook,
    notices,
)
from .dashboard.run_address import address_of_run
from .definition.workflow import Registry, Workflow
from .errors import ConfigurationError, PayloadError, UnknownWorkflowError, given, seconds_of
from .executor import Metadata, Payload, check_payload
from .notices import Channel, Notice, NoticeKind
from .people import Actor
from .queries import explanation, run_graph, run_list, run_snapshot
from .queries.results import Explanation, Graph, Run, RunHistory, RunPage
from .queries.run_filters import RunFilters, WorkflowFilter
from .receive_check import look_at_addresses
from .receiving import Receiver, Receivers, Verify
from .runtime import worker
from .runtime.deliveries import Delivery
from .runtime.event_sending import EventReceipt
from .runtime.maintenance import pruning
from .runtime.maintenance.pruning import PruneReport
from .runtime.runtime import Runtime, configured_runtime, current_runtime
from .storage.connections import AnySession
from .storage.scope import Scope, scope_of_tenant
from .storage.summaries import RunId, RunSummary
from .subscriptions import Subscription, Subscriptions, To

Defined = TypeVar("Defined", bound=type[Workflow])
_Authorize = TypeVar("_Authorize", bound=AuthorizeHook)
_Who = TypeVar("_Who", bound=ActorHook)
_Redact = TypeVar("_Redact", bound=RedactHook)
_Links = TypeVar("_Links", bound=LinksHook)
_Nonce = TypeVar("_Nonce", bound=NonceHook)
_Tenant = TypeVar("_Tenant", bound=TenantHook)
_Scope = TypeVar("_Scope", bound=ScopeHook)
_Subscriber = TypeVar("_Subscriber", bound=Callable[[Notice], object])
_People = TypeVar("_People", bound=PeopleHook)


class SquidMesh(Commands):
    """Durable workflows for a Flask app.

    It holds registrations only, so one object serves several apps; what belongs to an app stands in
    `app.extensions["squidmesh"]`.

    app: the app, where it exists already and its SQLAlchemy is initialised; otherwise call `init_app`. authorize,
    actor, redact, links, csp_nonce, tenant, scope, people: what is asked of the host; see the methods and the docs of
    the same name. clock: tells the time, for tests.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        authorize: AuthorizeHook | None = None,
        actor: ActorHook | None = None,
        redact: RedactHook | None = None,
        links: LinksHook | None = None,
        csp_nonce: NonceHook | None = None,
        tenant: TenantHook | None = None,
        scope: ScopeHook | None = None,
        people: PeopleHook | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._registry = Registry()
        self._subscriptions = Subscriptions()
        self._hooks = Hooks(
            authorize=authorize,
            actor=actor,
            redact=redact,
            links=links,
            csp_nonce=csp_nonce,
            tenant=tenant,
            scope=scope,
            people=people,
        )
        self._receivers = Receivers()
        self._clock = clock or SystemClock()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set the app up: its tables' metadata, the commands, and the dashboard. Connects to nothing.

        Raises ConfigurationError for unknown SQUIDMESH_ keys and values of the wrong kind, all of them at once, and
        where the app has been set up before.
        """
        if "squidmesh" in app.extensions:
            raise ConfigurationError(
                f"The app {app.name!r} has a Squid Mesh already. Call init_app once for each app, on one SquidMesh."
            )
        config = read_config(app.config)
        runtime = Runtime(
            app,
            self._registry,
            config,
            self._clock,
            subscriptions=self._subscriptions,
            findings=lambda: chain(notices(self._hooks), authorization.notices(), look_at_addresses(app)),
            objection=authorization.objection_while_away,
            address=lambda run_id: address_of_run(app, config.external_url, run_id),
        )
        app.extensions["squidmesh"] = runtime
        runtime.host.share_tables()
        app.cli.add_command(cli.group)
        if config.url_prefix is not None:
            app.register_blueprint(create_blueprint(self._hooks, url_prefix=config.url_prefix))
        receiving = self._receivers.blueprint()
        if receiving is not None:
            app.register_blueprint(receiving)
        if config.dev_worker:
            worker.arrange(app, lambda: runtime.in_this_process().worker(threads=2))

    # -- registrations -----------------------------------------------------------------------------------------

    def register(self, *workflows: Defined) -> Defined:
        """Make workflows known, so that they can be started and performed. Also a class decorator.

        Raises ConfigurationError where two have the same name or alias.
        """
        self._registry.register(*workflows)
        return workflows[0]

    def subscribe(
        self,
        *kinds: NoticeKind,
        workflow: type[Workflow] | str | Iterable[type[Workflow] | str] | None = None,
        name: str | None = None,
    ) -> Callable[[_Subscriber], _Subscriber]:
        """Decorator: `function(notice)` is called for everything of these kinds that happens, by a worker.

        It is called in an app context of its own after the commit, at least once, and again later if it raises; what it
        does has no effect on the run. workflow: only of this one, or of several. name: by which what is to be told
        finds it after a deploy; the function's own if left out.

        Raises ConfigurationError for a kind that does not exist, a name that is taken, and what cannot be called so.
        """

        def subscribed(function: _Subscriber) -> _Subscriber:
            self._subscriptions.add_subscriber(function, kinds, workflow, name)
            return function

        return subscribed

    def add_channel(
        self,
        channel: Channel | Callable[..., object],
        *,
        on: NoticeKind | Iterable[NoticeKind],
        to: To | None = None,
        digest: timedelta | None = None,
        workflow: type[Workflow] | str | Iterable[type[Workflow] | str] | None = None,
        name: str | None = None,
    ) -> None:
        """Have people or another service told of these kinds, by workers and relays.

        channel: a channel, or a function of `notice` and `receiver`. to: whom a notice goes to, as text such as an
        address, several of them, or a function of the notice that answers these, or None for nobody; left out where
        the channel itself knows. digest: what one receiver gets within this time after the first is sent as one message
        at its end. workflow: only of this one, or of several. name: by which what is to be told finds it
        after a deploy; that of the function or the channel's class if left out.

        Raises ConfigurationError as `subscribe` does.
        """
        self._subscriptions.add_channel(channel, on, to, digest, workflow, name)

    def authorize(self, hook: _Authorize) -> _Authorize:
        """Decorator: `hook(action, run, permission)` says whether the person may do it.

        It is called with the keywords that it declares, of action, run, permission, workflow, tenant, step, option and
        actor; `**kwargs` declares all. One that declares `actor` is asked too where somebody acts outside a request of
        their own, as a worker does that goes on with an action on many runs.

        It returns True, False, or `Deny("why not")`; anything else refuses and is told of in the log. Without it every
        page answers 403, except under `app.debug`. Raises ConfigurationError for one that cannot be called so.
        """
        self._hooks.give("authorize", hook)
        return hook

    def actor(self, hook: _Who) -> _Who:
        """Decorator: `hook()` names the person at the page: text, a mapping with an `id` and perhaps a `label`, or a
        Person; None for nobody. It is recorded with every action."""
        self._hooks.give("actor", hook)
        return hook

    def redact(self, hook: _Redact) -> _Redact:
        """Decorator: `hook(path, value, run)` returns what pages may show of a value at a path of keys."""
        self._hooks.give("redact", hook)
        return hook

    def links(self, hook: _Links) -> _Links:
        """Decorator: `hook(run)` returns (label, url) pairs to show on the run's page."""
        self._hooks.give("links", hook)
        return hook

    def csp_nonce(self, hook: _Nonce) -> _Nonce:
        """Decorator: `hook()` returns the nonce of the current response, where the host's policy demands one."""
        self._hooks.give("csp_nonce", hook)
        return hook

    def tenant(self, hook: _Tenant) -> _Tenant:
        """Decorator: `hook()` says whose runs are started within the current request; None or '' for nobody's.

        It counts for the start form and for `start_run` without `tenant=`; outside a request it is not asked.
        """
        self._hooks.give("tenant", hook)
        return hook

    def scope(self, hook: _Scope) -> _Scope:
        """Decorator: `hook()` says which runs the person at the page may know of, as a `Scope`; it may declare `actor`.

        A run outside it does not exist for that person. Without the hook whoever may list runs knows of all.
        """
        self._hooks.give("scope", hook)
        return hook

    def people(self, hook: _People) -> _People:
        """Decorator: `hook()` lists the Persons to whom what waits can be given; it may declare `run` and `step`.

        Forms that hand something on offer them beside those who are known from what was decided; any other id can be
        typed.
        """
        self._hooks.give("people", hook)
        return hook

    def dashboard(self, *, name: str, url_prefix: str, authorize: AuthorizeHook | None = None) -> Blueprint:
        """A further mount of the dashboard, to be registered by the host; with an `authorize` of its own if given.

        Raises ConfigurationError for an `authorize` that cannot be called.
        """
        return create_blueprint(self._hooks, name=name, url_prefix=url_prefix, authorize=authorize)

    def api(
        self,
        *,
        url_prefix: str = "/api/workflows",
        authenticate: AuthenticateHook,
        name: str = "squidmesh_api",
        authorize: AuthorizeHook | None = None,
    ) -> Blueprint:
        """A JSON API for programs, to be registered by the host. There is none without it.

        authenticate: `hook(request)` says who sends a request, as text, a mapping with an `id` or a Person; None for
        nobody, who gets 401. name: of the blueprint. authorize: instead of that of the pages.

        Rights, scope, redaction and audit are those of the pages; the hooks `authorize` and `scope` are asked where
        they declare `actor`, and everything is refused where they do not. No cookie is looked at, and the host's
        protection of forms leaves it out. Raises ConfigurationError for a hook that cannot be called.
        """
        return create_api(self._hooks, name=name, url_prefix=url_prefix, authenticate=authenticate, authorize=authorize)

    # -- configuration -----------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """The validated configuration of the current app. Raises ConfigurationError naming everything missing."""
        return current_runtime().config

    def check_config(self) -> list[str]:
        """What is missing or wrong in the configuration of the current app, one sentence each."""
        return current_runtime().problems()

    # -- runs --------------------------------------------------------------------------------------------------

    def start_run(
        self,
        workflow: type[Workflow] | str,
        payload: object = None,
        *,
        trigger: str | None = None,
        idempotency_key: str | None = None,
        actor: Actor | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        at: datetime | timedelta | None = None,
    ) -> Run:
        """Start a run.

        workflow: a registered class or its name. payload: a mapping or an instance of the trigger's model. trigger:
        name; the workflow's first if left out. idempotency_key: the same key and payload return the first run of the
        workflow and tenant. actor: who starts it. tenant: whose run it is, '' for nobody's; if left out what the hook
        `tenant` says within a request, else nobody's. session: join its transaction; nothing runs unless it commits.
        at: when it begins, as a time with a zone or as how long from now. It is written at once, begins with what is
        deployed by then, and can be rescheduled or cancelled before.

        Raises UnknownWorkflowError, UnknownTriggerError, PayloadError, ManualActionError for an actor or a tenant that
        is none, and ConflictError where the key was used with another payload or trigger, or for a run that was pruned.
        Nothing is written then.
        """
        runtime = configured_runtime()
        started = runtime.starter.start(
            workflow,
            payload,
            trigger=trigger,
            idempotency_key=idempotency_key,
            actor=actor,
            tenant=tenant_by(self._hooks) if tenant is None else tenant,
            session=session,
            at=at,
        )
        if started.changes is None or started.handed.left:
            return self._inspect(runtime, Scope.all(), started.run_id, session=session)
        spec = runtime.registry.get(workflow)
        return run_snapshot.begun(started.row, started.changes.entered, spec)

    @overload
    def inspect_run(
        self,
        run_id: RunId,
        *,
        include_history: Literal[False] = False,
        tenant: str | None = None,
        session: AnySession | None = None,
    ) -> Run: ...

    @overload
    def inspect_run(
        self,
        run_id: RunId,
        *,
        include_history: Literal[True],
        tenant: str | None = None,
        session: AnySession | None = None,
    ) -> RunHistory: ...

    @overload
    def inspect_run(
        self, run_id: RunId, *, include_history: bool, tenant: str | None = None, session: AnySession | None = None
    ) -> Run: ...

    def inspect_run(
        self,
        run_id: RunId,
        *,
        include_history: bool = False,
        tenant: str | None = None,
        session: AnySession | None = None,
    ) -> Run:
        """The run as it is stored.

        include_history: answer a RunHistory, which has its steps, step runs, attempts, audit events and timeline too.
        tenant: a run of another one counts as none, '' for runs of none; left out, whoever's it is. session: see the
        run as that transaction does.

        Raises RunNotFoundError, for malformed ids too.

        """
        scope = scope_of_tenant(tenant)
        return self._inspect(current_runtime(), scope, run_id, include_history=include_history, session=session)

    def explain_run(self, run_id: RunId, *, tenant: str | None = None) -> Explanation:
        """Why the run is where it is, the evidence, and the control calls that would succeed now.

        tenant: as for inspect_run.
        """
        runtime = configured_runtime()
        with runtime.database.read() as connection:
            return explanation.explain(
                connection,
                runtime.registry,
                scope_of_tenant(tenant),
                run_id,
                now=runtime.clock.now(),
                claim_timeout=runtime.config.claim_timeout,
            )

    def inspect_graph(self, run_id: RunId, *, tenant: str | None = None) -> Graph:
        """The run's workflow as nodes and edges with their states. tenant: as for inspect_run."""
        runtime = configured_runtime()
        with runtime.database.read() as connection:
            return run_graph.graph(connection, runtime.registry, scope_of_tenant(tenant), run_id)

    def list_runs(
        self,
        *,
        tenant: str | Iterable[str] | None = None,
        limit: int = 50,
        after: str | None = None,
        **filters: Unpack[RunFilters],
    ) -> RunPage:
        """One page of runs, newest first.

        tenant: only the runs of this one, or of several; '' for runs of none; left out, those of all. limit: at most
        500. after: `next` of the page before. filters: those of RunFilters, combined with AND.

        Raises FilterError for a filter that is not known or makes no sense.
        """
        runtime = configured_runtime()
        workflow = filters.get("workflow")
        if workflow is not None:
            filters["workflow"] = self._stored_names(runtime, workflow)
        with runtime.database.read() as connection:
            return run_list.list_runs(connection, scope_of_tenant(tenant), limit=limit, after=after, **filters)

    def url_for_run(self, run: RunId | RunSummary, page: Literal["run", "decide"] = "run") -> str:
        """The address of the run's page, as SQUIDMESH_EXTERNAL_URL begins it, for mails and messages.

        run: it, or its id. page: "decide" leads to what is asked there. Opening the address decides nothing: whoever
        follows it has to sign in, as the host's hooks say, and to send a form. Raises ConfigurationError where the
        setting or the dashboard is missing.
        """
        runtime = configured_runtime()
        run_id = str(getattr(run, "id", run))
        found = address_of_run(runtime.app, runtime.config.external_url, run_id, page)
        if found is None:
            raise ConfigurationError(
                "Addresses of runs begin as SQUIDMESH_EXTERNAL_URL says, which is not set. "
                'Set it to how the app is reached, such as "https://shop.example.org".'
                if runtime.config.external_url is None
                else "The app has no dashboard, so runs have no addresses. Set SQUIDMESH_URL_PREFIX."
            )
        return found

    def receive(self, address: str, *, verify: Verify) -> Callable[[Receiver], Receiver]:
        """Decorator: have the app take events at an address, as services send them: `function(request)`.

        address: such as "/hooks/payments", for POST alone; declare it before `init_app`. verify: `verify(request)` says
        whether the request is to be believed, such as an HmacSignature. The function answers an Event, several, or None
        for what is of no concern. The answer is 202 with the receipt, 200 for a repeat, else 400, 401, 413 or 503. No
        session is opened, and the host's protection of forms leaves the address out.

        Raises ConfigurationError for an address that is none or is taken, and after `init_app`.
        """

        def declared(function: Receiver) -> Receiver:
            self._receivers.declare(address, verify, function)
            return function

        return declared

    # -- events ------------------------------------------------------------------------------------------------

    def send_event(
        self,
        name: str,
        *,
        key: str | int,
        payload: BaseModel | Mapping[str, object] | None = None,
        event_id: str | None = None,
        tenant: str = "",
        actor: Actor | None = None,
        session: AnySession | None = None,
    ) -> EventReceipt:
        """Bring an event to the runs that wait for it, now or within what their `lookback` says.

        name, key: which event, as `WaitForEvent` names it. payload: a mapping or an instance of the model that is
        registered for the event. event_id: the sender's own name for it; the same one again, with the same key and
        payload, is answered as the first was and does nothing. tenant: whose it is; only runs of the same one take it.
        actor: who sends it, for the record. session: join its transaction; nothing happens unless it commits.

        Returns a receipt. Without a session it names the runs that have taken the event, or were started or cancelled
        by it.

        Raises PayloadError for a payload that does not fit, and for a name, key or event_id that is none, and
        ConflictError for an event_id that came with another key or payload. Nothing is written then.
        """
        return configured_runtime().events.send(
            name, key=key, payload=payload, event_id=event_id, tenant=tenant, actor=actor, session=session
        )

    # -- keeping house -----------------------------------------------------------------------------------------

    def prune(
        self,
        *,
        older_than: timedelta,
        status: str | Iterable[str] = "completed",
        workflow: type[Workflow] | str | None = None,
        including_unacknowledged: bool = False,
        dry_run: bool = False,
        batch: int = pruning.BATCH,
        actor: Actor | None = None,
    ) -> PruneReport:
        """Delete runs that ended so long ago, with all that belongs to them; never one that is linked to a live run.

        older_than: since they ended. status: one or several of completed, failed and cancelled. workflow: only this
        one's. including_unacknowledged: failures too that nobody has taken note of. dry_run: delete nothing, only say
        what would go. batch: how many runs one transaction looks at. actor: who asks, for the audit.

        Returns how many went and how many stay, and why. Raises FilterError, and UnknownWorkflowError for a workflow
        that is not registered and has no runs.
        """
        return configured_runtime().pruner.prune(
            older_than=older_than,
            status=status,
            workflow=workflow,
            including_unacknowledged=including_unacknowledged,
            dry_run=dry_run,
            batch=batch,
            actor=actor,
        )

    # -- work --------------------------------------------------------------------------------------------------

    def perform(self, payload: object) -> Delivery:
        """Do what a queued job asks for. The host's job calls this with the payload its executor was given.

        A failed step is not a failed job: the Delivery says what happened. Raises PayloadError for a payload that the
        executor was never given, and the database's own errors where it is out of reach.
        """
        return current_runtime().perform(payload)

    def enqueue_cron(
        self,
        workflow: type[Workflow] | str,
        trigger: str,
        *,
        schedule_in: float | None = None,
        intended_window: datetime | None = None,
        signal_id: str | None = None,
    ) -> Metadata:
        """Hand a cron activation to the executor, as the host's scheduler does when a trigger is due.

        schedule_in: seconds until it is due; None for at once. intended_window: the time that the schedule meant.
        signal_id: the scheduler's own name for this activation.

        Raises UnknownWorkflowError, UnknownTriggerError for a trigger that is no cron trigger, and PayloadError for
        another argument that makes no sense.
        """
        runtime = configured_runtime()
        spec, chosen = runtime.scheduler.cron_trigger(workflow, trigger)
        check_payload(Payload.cron(spec.name, chosen.name, intended_window, signal_id))
        if schedule_in is not None and seconds_of(schedule_in) is None:
            raise PayloadError(f"schedule_in is {given(schedule_in)}; pass seconds from 0 on, or None for at once.")
        return runtime.executor.enqueue_cron(
            spec.name, chosen.name, schedule_in=schedule_in, intended_window=intended_window, signal_id=signal_id
        )

    def pause_schedule(
        self, workflow: type[Workflow] | str, trigger: str, *, actor: Actor, comment: str | None = None
    ) -> None:
        """Have a cron trigger start nothing until it is resumed; it is recorded in the audit.

        What a queue delivers for it meanwhile is dropped. Raises ManualActionError, UnknownWorkflowError,
        UnknownTriggerError, and TransitionError where it is paused already.
        """
        configured_runtime().schedule_commands.pause(workflow, trigger, actor=actor, comment=comment)

    def resume_schedule(
        self, workflow: type[Workflow] | str, trigger: str, *, actor: Actor, comment: str | None = None
    ) -> None:
        """Have a paused cron trigger start runs again, from its next window on. Raises as pause_schedule."""
        configured_runtime().schedule_commands.resume(workflow, trigger, actor=actor, comment=comment)

    def _rehearsal(self, clock: Clock, instead: Callable[[Subscription], Channel]) -> SquidMesh:
        """The same registrations for an app of a test. instead: what takes the place of each channel."""
        made = SquidMesh(clock=clock)
        made._registry, made._hooks = copy(self._registry), copy(self._hooks)
        made._subscriptions, made._receivers = self._subscriptions.with_channels(instead), self._receivers.open_copy()
        return made

    @staticmethod
    def _stored_names(runtime: Runtime, workflow: WorkflowFilter) -> WorkflowFilter:
        """The names that the workflow's runs may have; a workflow that was removed has left its runs behind."""
        if not isinstance(workflow, str | type):
            return workflow
        try:
            spec = runtime.registry.get(workflow)
        except UnknownWorkflowError:
            return workflow
        return spec.names

    def _inspect(
        self,
        runtime: Runtime,
        scope: Scope,
        run_id: RunId,
        *,
        include_history: bool = False,
        session: AnySession | None = None,
    ) -> Run:
        runtime.ensure_configured()
        tells = bool(runtime.outbox.subscriptions)
        inspect = partial(run_snapshot.inspect, include_history=include_history, tells=tells)
        if session is not None:
            return inspect(runtime.database.seen_by(session), runtime.registry, scope, run_id)
        with runtime.database.read() as connection:
            return inspect(connection, runtime.registry, scope, run_id)
