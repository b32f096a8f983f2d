"""Looking at runs, starting them, and every command of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

import click
from pydantic import AwareDatetime, ValidationError
from pydantic.fields import FieldInfo

from ..engine.command_table import COMMANDS, Command
from ..engine.transitions import RUN_MOVES
from ..errors import ManualActionError
from ..queries.operator_status import OPERATOR_WORDS, stuck_among, word_of
from ..storage.scope import Scope, scope_of_tenant
from .command_group import CommandGroup, aligned, group, ready_runtime, runtime_here
from .json_output import as_json, json_object, tell

if TYPE_CHECKING:
    from ..queries.run_filters import Filters
    from ..queries.run_snapshot import RunSnapshot
    from ..storage.summaries import RunSummary

COLUMNS = ("id", "workflow", "state", "current_step", "subject", "created_at")
POSITIONAL = ("option", "text")
OPTIONS = {"comment": "--comment", "metadata": "--metadata"}


@group.group(cls=CommandGroup)
def runs() -> None:
    """List, show and start runs, and do with them whatever can be done.

    Exit codes: 0 done; 1 the app or its database is not ready; 2 the command is written wrongly; 3 there is no such
    run, workflow or trigger; 4 it is not possible now, or what was expected does not hold any more; 5 what was given
    does not fit. But for 0, nothing was done.
    """


def _as(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--as", "actor", metavar="NAME", help="Who does it, for the audit; by their id.")(command)


def _key(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--key", metavar="TEXT", help="An idempotency key: said twice, done once.")(command)


class _Listed:
    """One run of a list, with the word that pages have for its state."""

    def __init__(self, run: RunSummary, state: str) -> None:
        self._run, self.state = run, state

    def __getattr__(self, name: str) -> object:
        return getattr(self._run, name)

    def to_dict(self) -> dict[str, Any]:
        return {**self._run.to_dict(), "state": self.state}


@runs.command("list")
@click.option("--status", multiple=True, type=click.Choice(tuple(RUN_MOVES)), help="May be given several times.")
@click.option("--state", type=click.Choice(tuple(OPERATOR_WORDS)), help="The word that pages have for it.")
@click.option("--workflow", multiple=True, help="May be given several times.")
@click.option("--needs", is_flag=True, help="Only those that need a person.")
@click.option("--subject", help="How their subject begins.")
@click.option("--step", help="Where they are.")
@click.option("--error", help="The fingerprint of their error.")
@click.option("--since", type=datetime.fromisoformat, help="Created since, as ISO 8601 with an offset.")
@click.option("--tenant", multiple=True, help="Whose they are; may be given several times.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at most.")
@click.option("--after", metavar="CURSOR", help="`next` of the page before.")
@as_json
def list_runs(limit: int, after: str | None, tenant: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """List runs, the newest first."""
    from ..queries import run_list

    runtime = ready_runtime()
    now = runtime.clock.now()
    filters: Filters = {
        "status": given["status"] or None,
        "workflow": [name for each in given["workflow"] for name in runtime.registry.names_of(each)] or None,
        "needs": True if given["needs"] else None,
        "subject": given["subject"],
        "step": given["step"],
        "error": given["error"],
        "since": given["since"],
        "word": given["state"],
        "now": now,
    }
    with runtime.database.read() as connection:
        page = run_list.list_runs(connection, scope_of_tenant(tenant or None), limit=limit, after=after, **filters)
        stuck = stuck_among(connection, page.runs, now)
    listed = [_Listed(run, word_of(run, now, stuck=run.id in stuck)) for run in page.runs]
    if as_json:
        tell({"runs": [each.to_dict() for each in listed], "next": page.next})
        return
    for line in aligned(COLUMNS, listed):
        click.echo(line)
    if not page.runs:
        click.echo("There are no such runs.")
    if page.next:
        click.echo(f"There are more: --after {page.next}")


@runs.command()
@click.argument("run_id")
@as_json
def show(run_id: str, as_json: bool) -> None:
    """Show one run: why it is where it is, and what can be done with it."""
    look = _look(run_id)
    if as_json:
        tell({**_hidden(look.run.to_dict()), "state": look.word, "explanation": _hidden(look.explanation.to_dict())})
        return
    run, explanation = look.run, look.explanation
    ended = f" ({run.outcome})" if run.outcome else ""
    told = {
        "run": run.id,
        "workflow": run.workflow,
        "subject": run.subject,
        "state": f"{look.word}{ended}",
        "reason": explanation.reason,
        "step": explanation.step,
        "token": run.decision,
        "error": run.last_error["message"] if run.last_error else None,
        "created": run.created_at.isoformat(sep=" ", timespec="minutes"),
    }
    for name, value in told.items():
        if value:
            click.echo(f"{name:<9} {value}")
    for action in explanation.next_actions:
        where = "".join(f" --step {action.step}" if action.step else "")
        option = f" {action.option}" if action.option else ""
        click.echo(f"possible  {COMMANDS[str(action)].verb} {run.id}{option}{where}")


def _look(run_id: str) -> RunSnapshot:
    from ..queries import run_snapshot

    runtime = ready_runtime()
    with runtime.database.read() as connection:
        return run_snapshot.snapshot_of(
            connection,
            runtime.registry,
            Scope.all(),
            run_id,
            now=runtime.clock.now(),
            claim_timeout=runtime.config.claim_timeout,
        )


def _hidden(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without what stands under secret names."""
    hides = runtime_here().hides

    def shown(value: object) -> Any:
        if isinstance(value, Mapping):
            hidden = {key for key, item in value.items() if item is not None and hides(str(key))}
            return {key: "[redacted]" if key in hidden else shown(item) for key, item in value.items()}
        return [shown(item) for item in value] if isinstance(value, list | tuple) else value

    return dict(shown(document))


@runs.command()
@click.argument("workflow")
@click.argument("payload", required=False, callback=json_object)
@click.option("--trigger", help="Which trigger; the workflow's first if left out.")
@click.option("--tenant", default="", help="Whose run it is.")
@click.option("--at", metavar="TIME", type=datetime.fromisoformat, help="When it begins, as ISO 8601 with an offset.")
@_key
@_as
@as_json
def start(
    workflow: str,
    payload: object,
    trigger: str | None,
    tenant: str,
    at: datetime | None,
    key: str | None,
    actor: str | None,
    as_json: bool,
) -> None:
    """Start a run of WORKFLOW. PAYLOAD is a JSON object, or @FILE."""
    started = ready_runtime().starter.start(
        workflow, payload, trigger=trigger, idempotency_key=key, actor=actor, tenant=tenant, at=at
    )
    run = _look(started.run_id).run
    if as_json:
        tell(_hidden(run.to_dict()))
    else:
        click.echo(f"Run {run.id}" if started.new else f"Run {run.id} was started with this key before.")


def _offer(command: Command) -> None:
    """Make the command that does it, with an option for each of its arguments."""

    def act(run_id: str, actor: str | None, key: str | None, as_json: bool, **given: Any) -> None:
        expected = given.pop("expected", None)
        said = {name: value for name, value in given.items() if value not in (None, False)}
        if "to" in given:
            said["to"] = given["to"]
        try:
            told = command.arguments.model_validate(said)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            raise ManualActionError(str(first["loc"][0]), f"{first['loc'][0]}: {first['msg']}.") from error
        after: RunSummary = ready_runtime().commands.carry_out(
            command,
            run_id,
            scope=Scope.all(),
            actor=actor,
            idempotency_key=key,
            **({} if expected is None else {"expected": expected}),
            **told.given(),
        )
        if as_json:
            tell(_hidden(after.to_dict()))
        else:
            click.echo(f"Run {after.id} is {after.status}{f' at {after.current_step}' if after.current_step else ''}.")

    found: Callable[..., Any] = act
    for name, field in reversed(command.arguments.model_fields.items()):
        found = _parameter(name, field)(found)
    if command.expects != "none":
        found = click.option("--expected", metavar="TOKEN", help="What `show` says; nothing is done without it.")(found)
    found = click.argument("run_id")(_key(_as(as_json(found))))
    runs.command(command.verb, help=command.does)(found)


def _parameter(name: str, field: FieldInfo) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    if name in POSITIONAL:
        return click.argument(name)
    option = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        return click.option(option, is_flag=True, help=field.description)
    if any(each is dict or getattr(each, "__origin__", None) is dict for each in get_args(field.annotation)):
        return click.option(option, metavar="JSON", callback=json_object, help=f"{field.description} Or @FILE.")
    metavar = "TIME" if field.annotation is AwareDatetime else "TEXT"
    return click.option(option, metavar=metavar, help=field.description)


for _command in COMMANDS.values():
    _offer(_command)
