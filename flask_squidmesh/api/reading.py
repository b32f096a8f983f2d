"""What programs may look at."""

from __future__ import annotations

from flask import abort, request
from werkzeug.wrappers import Response

from ..dashboard import outside_data, page_data
from ..dashboard.authorization import narrow_scope, require, require_tasks
from ..queries import open_waits
from ..queries.open_waits import WHOSE
from ..queries.operator_status import OPERATOR_WORDS
from ..queries.run_filters import Filters
from ..queries.run_list import MOST
from ..runtime.runtime import current_runtime
from ..storage.summaries import document_of
from . import request_parts
from .run_documents import (
    answer,
    event_document,
    explanation_document,
    headers_of,
    run_document,
    task_document,
    timeline_document,
    worded,
    workflow_document,
)

SEVERAL = ("status", "workflow", "outcome")
ONE = ("subject", "run_id", "error", "step", "trigger")
TIMES = ("since", "until")
PAGING = ("limit", "after")
OF_RUNS = (*SEVERAL, "needs", "state", *ONE, *TIMES, "tenant", *PAGING)
OF_TASKS = ("whose", "kind", "workflow", *PAGING)
MOST_TASKS, PAGE = 100, 50


def runs() -> Response:
    """List runs, the newest first."""
    request_parts.check_query(*OF_RUNS)
    require("list")
    tenants = request_parts.several("tenant")
    if tenants is not None:
        narrow_scope(tenants)
    size = request_parts.count("limit", PAGE, MOST)
    page = page_data.exported_page(_filters(), size=size, after=request.args.get("after"))
    return answer({"runs": [worded(each) for each in page.runs], "next": page.next})


def _filters() -> Filters:
    found = Filters()
    found["status"] = request_parts.several("status")
    found["workflow"] = _workflows(request_parts.several("workflow"))
    found["outcome"] = request_parts.several("outcome")
    needs = request_parts.several("needs")
    found["needs"] = True if needs == ["true"] else needs
    found["subject"], found["run_id"] = request.args.get("subject"), request.args.get("run_id")
    found["error"], found["step"] = request.args.get("error"), request.args.get("step")
    found["trigger"] = request.args.get("trigger")
    if "state" in request.args:
        found["word"] = request_parts.choice("state", tuple(OPERATOR_WORDS), "")
        found["now"] = current_runtime().clock.now()
    found["since"], found["until"] = request_parts.moment("since"), request_parts.moment("until")
    return found


def _workflows(names: list[str] | None) -> list[str] | None:
    """The names that the runs of these workflows may have; one that was removed has left its runs behind."""
    names_of = current_runtime().registry.names_of
    return None if names is None else [each for name in names for each in names_of(name)]


def run(run_id: str) -> Response:
    """Tell of one run, with all that happened to it where that is asked for."""
    request_parts.check_query("history")
    history = request_parts.flag("history")
    found = page_data.viewable_run(run_id, whole_audit=history).run
    if history:
        require("payload", found)
    return answer(run_document(found, history=history), headers={"ETag": headers_of(found)["ETag"]})


def explanation(run_id: str) -> Response:
    """Say why a run is where it is, and what can be done with it."""
    request_parts.check_query()
    return answer(explanation_document(page_data.viewable_run(run_id)))


def graph(run_id: str) -> Response:
    """Draw a run's workflow as nodes and edges with their states."""
    request_parts.check_query()
    return answer(page_data.viewable_run(run_id).graph().to_dict())


def timeline(run_id: str) -> Response:
    """Tell all that happened to a run, by time."""
    request_parts.check_query()
    return answer(timeline_document(page_data.viewable_run(run_id, whole_audit=True).run))


def tasks() -> Response:
    """List what is asked of people, what is due first."""
    request_parts.check_query(*OF_TASKS)
    require_tasks()
    whose = request_parts.choice("whose", WHOSE, "mine")
    kinds = request_parts.several("kind") or open_waits.KINDS
    size = request_parts.count("limit", PAGE, MOST_TASKS)
    workflow, after = request.args.get("workflow"), request.args.get("after")
    page = page_data.wait_page(whose, kinds, workflow, size, after)
    asked = page_data.asked_in(page.items)
    counts = {"overdue": page.overdue, "soon": page.soon, "later": page.later}
    return answer({"tasks": [task_document(item) for item in asked], **counts, "next": page.next})


def events() -> Response:
    """List what came from outside, the newest first."""
    request_parts.check_query("name", "key", *PAGING)
    require("list")
    size, after = request_parts.count("limit", PAGE, MOST), request.args.get("after")
    page = outside_data.events_page(after=after, size=size, name=request.args.get("name"), key=request.args.get("key"))
    return answer({"events": [event_document(each) for each in page.events], "next": page.next})


def workflows() -> Response:
    """List the workflows, with the schemas of their payloads."""
    request_parts.check_query()
    require("list")
    return answer({"workflows": [workflow_document(spec) for spec in page_data.specs()]})


def workflow(name: str) -> Response:
    """Tell of one workflow."""
    request_parts.check_query()
    require("list")
    spec = page_data.spec_named(name)
    return answer(workflow_document(spec)) if spec else abort(404)


def schedules() -> Response:
    """List the schedules: when each is due next, and what it did last."""
    request_parts.check_query()
    require("list")
    return answer({"schedules": [document_of(each) for each in page_data.schedules_now()]})


def workers() -> Response:
    """Tell who performs steps, and what waits in which queue."""
    request_parts.check_query()
    require("list")
    return answer(page_data.fleet_now().to_dict())
