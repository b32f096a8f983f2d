"""What the API takes and answers, as OpenAPI 3.1 has it, made from the models that it is read and sent by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final

from ..definition.spec import WorkflowSpec
from ..engine.command_table import COMMANDS, Command
from ..engine.transitions import RUN_MOVES
from ..queries.fleet import Fleet
from ..queries.open_waits import KINDS, WHOSE
from ..queries.operator_status import OPERATOR_WORDS
from ..queries.results import DecisionView, Explanation, Graph, RunHistory, TimelineEvent
from ..queries.run_filters import NEEDS
from ..queries.run_list import MOST
from ..runtime.command_arguments import LONGEST_KEY
from ..runtime.event_sending import EventReceipt
from ..runtime.scheduler import ScheduleView
from ..storage.summaries import RunSummary
from .reading import MOST_TASKS
from .request_parts import JSON, EventBody, parameter
from .run_documents import HISTORY, payload_schema
from .schemas import OBJECT, Schema, Schemas, nullable

PROBLEM: Final = "application/problem+json"
TEXT: Final[Schema] = {"type": "string"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
CURSOR: Final[Schema] = {"type": ["string", "null"]}
TEXTS: Final[Schema] = {"type": "array", "items": TEXT}
NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 200}
REFERENCES: Final = "#/components/schemas/{model}"
_WHY: Final[Mapping[int, str]] = {
    400: "The request cannot be read, or asks for something that there is not.",
    401: "Nobody knows whose request it is.",
    403: "Whoever asks may not do this.",
    404: "There is no such thing, or none that whoever asks may know of.",
    409: "It is not possible now, or what was relied on does not hold any more; nothing was done.",
    413: "The body is too large.",
    415: "The body is not JSON in UTF-8.",
    422: "What was sent does not fit.",
    503: "The database did not answer.",
}
RUN_ID: Final = parameter("run_id", "path", {"type": "string", "format": "uuid"}, "The id of the run.", required=True)
KEY: Final = parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": r"^[!-~]+$"},
    "Said twice, done once, and answered the same. It belongs to this command, person and arguments.",
)
TOKEN: Final = parameter(
    "If-Match",
    "header",
    {"type": "string", "pattern": r'^"[!#-~]+"$'},
    "The ETag that GET of the run answered; where it does not hold any more nothing is done.",
)
TENANT: Final = parameter("tenant", "query", {"type": "string", "maxLength": 200}, "Whose it is.")
PAGING: Final = (
    parameter("after", "query", TEXT, "`next` of the page before."),
    parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": MOST}, "How many at most."),
)
FILTERS: Final = (
    parameter("status", "query", {"type": "array", "items": {"enum": list(RUN_MOVES)}}, "One or several."),
    parameter("state", "query", {"enum": list(OPERATOR_WORDS)}, "The word that pages have for it, as in the answer."),
    parameter("workflow", "query", TEXTS, "The name of a workflow, or of several."),
    parameter("needs", "query", {"type": "array", "items": {"enum": ["true", *NEEDS]}}, "What it needs a person for."),
    parameter("outcome", "query", TEXTS, "How a completed run says to have ended."),
    parameter("subject", "query", TEXT, "How its subject begins."),
    parameter("run_id", "query", TEXT, "How its id begins."),
    parameter("error", "query", TEXT, "The fingerprint of its error."),
    parameter("step", "query", TEXT, "Where it is."),
    parameter("trigger", "query", TEXT, "What started it."),
    parameter("since", "query", {"type": "string", "format": "date-time"}, "Created at this time or later."),
    parameter("until", "query", {"type": "string", "format": "date-time"}, "Created before this time."),
    parameter("tenant", "query", TEXTS, "Whose run it is."),
    *PAGING,
)


def document(specs: Iterable[WorkflowSpec], address: str) -> dict[str, Any]:
    """The whole of it. specs: the workflows that whoever asks may know of. address: where the API is."""
    schemas = Schemas()
    parts = (_of_runs, _of_tasks, _of_events, _of_app, _commands)
    paths = {path: said for part in parts for path, said in part(schemas).items()}
    for spec in specs:
        if start := _start(schemas, spec):
            paths[f"/workflows/{spec.name}/runs"] = {"post": start}
    schemas.components["Problem"] = _PROBLEM
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Workflows",
            "version": version("flask-squidmesh"),
            "description": "Runs of workflows: what they do, what they wait for, and every command.",
        },
        "servers": [{"url": address}],
        "paths": paths,
        "components": {"schemas": schemas.components},
    }


def _of_runs(schemas: Schemas) -> dict[str, Any]:
    summary, run = schemas.of(RunSummary), _run(schemas)
    listed = {"allOf": [summary, {"type": "object", "required": ["state"], "properties": {"state": TEXT}}]}
    schemas.components["ListedRun"] = listed
    history = parameter("history", "query", {"type": "boolean"}, "Whether with its steps, attempts and audit.")
    events = _list("events", schemas.of(TimelineEvent))
    path, one = "/runs/{run_id}", (403, 404)
    return {
        "/runs": _get("list_runs", "Runs, the newest first", FILTERS, _page("runs", "ListedRun", next=CURSOR)),
        path: _get("get_run", "One run", (RUN_ID, history), run, *one),
        f"{path}/explanation": _get("explain_run", "Why it is where it is", (RUN_ID,), schemas.of(Explanation), *one),
        f"{path}/graph": _get("get_graph", "Its workflow as a graph", (RUN_ID,), schemas.of(Graph), *one),
        f"{path}/timeline": _get("get_timeline", "All that happened to it", (RUN_ID,), events, *one),
    }


def _of_tasks(schemas: Schemas) -> dict[str, Any]:
    schemas.components["Task"] = {
        "type": "object",
        "required": ["run", "decision", "since", "due_at", "overdue", "next_actions"],
        "properties": {
            "run": schemas.of(RunSummary),
            "decision": schemas.of(DecisionView),
            "since": TIME,
            "due_at": nullable(TIME),
            "overdue": {"type": "boolean"},
            "next_actions": {"type": "array", "items": OBJECT},
        },
    }
    counts = {name: {"type": "integer"} for name in ("overdue", "soon", "later")}
    whose = parameter("whose", "query", {"enum": list(WHOSE)}, "Whose they are: one's own, or of one's groups.")
    kind = parameter("kind", "query", {"type": "array", "items": {"enum": list(KINDS)}}, "What is asked.")
    workflow = parameter("workflow", "query", NAME, "Of this workflow alone.")
    most = parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": MOST_TASKS}, "How many at most.")
    given = (whose, kind, workflow, PAGING[0], most)
    tasks = _page("tasks", "Task", next=CURSOR, **counts)
    return {"/tasks": _get("list_tasks", "What is asked of people, what is due first", given, tasks)}


def _of_events(schemas: Schemas) -> dict[str, Any]:
    schemas.components["Event"] = _EVENT
    body = _moved(schemas, "EventBody", EventBody.model_json_schema(ref_template=REFERENCES))
    name, key = (parameter(each, "query", TEXT, f"Those of this {each} alone.") for each in ("name", "key"))
    receipt = schemas.of(EventReceipt)
    sending = {
        "operationId": "send_event",
        "summary": "Send an event.",
        "parameters": [TENANT, KEY],
        "requestBody": _body(body, required=True),
        "responses": _answers({200: receipt, 202: receipt}, 400, 403, 409, 413, 415, 422),
    }
    listed = _get("list_events", "What came from outside", (name, key, *PAGING), _page("events", "Event", next=CURSOR))
    return {"/events": {**listed, "post": sending}}


def _of_app(schemas: Schemas) -> dict[str, Any]:
    schemas.components["Workflow"] = _WORKFLOW
    name = parameter("name", "path", TEXT, "The name of the workflow.", required=True)
    due = _list("schedules", schemas.of(ScheduleView))
    return {
        "/workflows": _get("list_workflows", "The workflows", (), _page("workflows", "Workflow")),
        "/workflows/{name}": _get("get_workflow", "One workflow", (name,), _reference("Workflow"), 403, 404),
        "/schedules": _get("list_schedules", "When schedules are due", (), due),
        "/workers": _get("list_workers", "Who performs steps, and what waits", (), schemas.of(Fleet)),
        "/openapi.json": _get("get_openapi", "This document", (), OBJECT),
    }


def _run(schemas: Schemas) -> Schema:
    """One run: what a history adds may be left out, and what is data may be hidden."""
    schemas.of(RunHistory)
    whole = schemas.components.pop("RunHistory")
    properties = dict(whole["properties"])
    properties |= {name: nullable(properties[name]) for name in ("payload", "context")}
    required = [name for name in whole["required"] if name not in HISTORY]
    said = "One run. payload, context: null for whoever may not see its data. decision: the token for If-Match."
    schemas.components["Run"] = {**whole, "description": said, "required": required, "properties": properties}
    return _reference("Run")


def _commands(schemas: Schemas) -> dict[str, Any]:
    return {f"/runs/{{run_id}}/{command.verb}": {"post": _command(schemas, command)} for command in COMMANDS.values()}


def _command(schemas: Schemas, command: Command) -> dict[str, Any]:
    body = _moved(schemas, command.arguments.__name__, command.arguments.model_json_schema(ref_template=REFERENCES))
    tokens = () if command.expects == "none" else (TOKEN,)
    return {
        "operationId": command.name,
        "summary": command.does,
        "parameters": [RUN_ID, KEY, *tokens],
        "requestBody": _body(body, required=bool(schemas.components[command.arguments.__name__].get("required"))),
        "responses": _answers({200: schemas.of(RunSummary)}, 400, 403, 404, 409, 413, 415, 422),
    }


def _start(schemas: Schemas, spec: WorkflowSpec) -> dict[str, Any] | None:
    manual = [trigger for trigger in spec.triggers.values() if trigger.kind == "manual"]
    if not manual:
        return None
    bodies = [
        _moved(schemas, _title(f"{spec.name}_{trigger.name}_payload"), payload_schema(trigger)) for trigger in manual
    ]
    chosen = parameter("trigger", "query", {"enum": [each.name for each in manual]}, "Which trigger; else the first.")
    at = parameter("at", "query", {"type": "string", "format": "date-time"}, "When it begins; else now.")
    run = _reference("Run")
    return {
        "operationId": f"start_{spec.name}",
        "summary": f"Start a run of {spec.title}. The body is the payload.",
        "parameters": [chosen, at, TENANT, KEY],
        "requestBody": _body(bodies[0] if len(bodies) == 1 else {"anyOf": bodies}, required=False),
        "responses": _answers({200: run, 201: run}, 400, 403, 404, 409, 413, 415, 422),
    }


def _moved(schemas: Schemas, name: str, schema: Mapping[str, Any]) -> Schema:
    """The schema as a component, and those that it refers to as others, under names that begin with its own.

    Several models may have one title, by which generated clients would take them for the same.
    """
    inner = dict(schema.get("$defs", {}))
    names = {each: f"{name}{_title(each)}" for each in inner}
    whole = {key: each for key, each in schema.items() if key != "$defs"}
    for each, found in ((name, whole), *((names[key], inner[key]) for key in inner)):
        schemas.components[each] = {**_renamed(found, names), "title": each}
    return _reference(name)


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    if isinstance(schema, list):
        return [_renamed(each, names) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _renamed(each, names) for key, each in schema.items()}
    if isinstance(target := schema.get("$ref"), str):
        last = target.rpartition("/")[2]
        found["$ref"] = _reference(names.get(last, last))["$ref"]
    return found


def _title(name: str) -> str:
    return "".join(each[:1].upper() + each[1:] for each in re.split(r"[^A-Za-z0-9]+", name))


def _get(id: str, summary: str, parameters: Iterable[Any], schema: Schema, *further: int) -> dict[str, Any]:
    answers = _answers({200: schema}, 400, *(further or (403,)))
    return {"get": {"operationId": id, "summary": summary, "parameters": list(parameters), "responses": answers}}


def _answers(good: Mapping[int, Schema], *bad: int) -> dict[str, Any]:
    fine = {str(status): _answer("As asked.", JSON, schema) for status, schema in good.items()}
    problems = {str(status): _answer(_WHY[status], PROBLEM, _reference("Problem")) for status in (*bad, 401, 503)}
    return {**fine, **dict(sorted(problems.items()))}


def _answer(description: str, mimetype: str, schema: Schema) -> dict[str, Any]:
    return {"description": description, "content": {mimetype: {"schema": schema}}}


def _body(schema: Schema, *, required: bool) -> dict[str, Any]:
    return {"required": required, "content": {JSON: {"schema": schema}}}


def _list(name: str, items: Schema) -> Schema:
    return {"type": "object", "required": [name], "properties": {name: {"type": "array", "items": items}}}


def _page(name: str, component: str, **beside: Schema) -> Schema:
    page = _list(name, _reference(component))
    return {**page, "required": [name, *beside], "properties": {**page["properties"], **beside}}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_TRIGGER: Final[Schema] = {
    "type": "object",
    "required": ["name", "kind", "expression", "timezone", "payload"],
    "properties": {
        "name": TEXT,
        "kind": {"type": "string", "enum": ["manual", "cron"]},
        "expression": {"type": ["string", "null"]},
        "timezone": {"type": ["string", "null"]},
        "payload": {**OBJECT, "description": "The JSON schema of what it takes."},
    },
}
_WORKFLOW: Final[Schema] = {
    "type": "object",
    "description": "One workflow, with what starts it. may_start: whether whoever asks may.",
    "required": ["name", "title", "description", "version", "steps", "triggers", "may_start"],
    "properties": {
        **dict.fromkeys(("name", "title", "description"), TEXT),
        "version": {"type": ["string", "null"]},
        "steps": TEXTS,
        "triggers": {"type": "array", "items": _TRIGGER},
        "may_start": {"type": "boolean"},
    },
}
_EVENT: Final[Schema] = {
    "type": "object",
    "description": "An event. reached: the first runs that it has reached; more: whether there are others.",
    "required": ["id", "tenant", "name", "key", "event_id", "actor", "sent_at", "reached", "more"],
    "properties": {
        **dict.fromkeys(("id", "tenant", "name", "key", "event_id"), TEXT),
        "actor": {},
        "sent_at": TIME,
        "reached": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["run_id", "how", "step", "at"],
                "properties": {"run_id": TEXT, "how": TEXT, "step": {"type": ["string", "null"]}, "at": TIME},
            },
        },
        "more": {"type": "boolean"},
    },
}
_PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "What went wrong, by RFC 9457, with the fields of our error.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        **dict.fromkeys(("type", "title", "detail", "error"), TEXT),
        "status": {"type": "integer"},
        **dict.fromkeys(("missing_fields", "unknown_fields", "allowed"), TEXTS),
        "invalid_types": OBJECT,
        "current": {},
        "run_status": TEXT,
        "field": TEXT,
        "name": TEXT,
        "right": TEXT,
    },
    "additionalProperties": True,
}
