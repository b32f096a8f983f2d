"""The API as a blueprint: its addresses, and what happens around each request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from flask import abort, current_app, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from ..dashboard import host_hooks
from ..dashboard.authorization import Dashboard
from ..dashboard.endpoints import check_address, limit_body, memory, refuse_large
from ..dashboard.host_hooks import KINDS, Hooks
from ..dashboard.page_data import specs
from ..dashboard.text import language
from ..engine.command_table import COMMANDS
from ..hooks import Hook, HookFault
from ..runtime.runtime import configured_runtime, current_runtime
from . import openapi, problems, reading, request_parts, writing
from .run_documents import answer

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
Answers = Mapping[str, Callable[..., Response]]


def description() -> Response:
    """Tell what the API takes and answers."""
    request_parts.check_query()
    address = url_for(".openapi").removesuffix("/openapi.json")
    return answer(openapi.document(specs(), address))


ADDRESSES: Final[tuple[tuple[str, str, Answers], ...]] = (
    ("/openapi.json", "openapi", {"GET": description}),
    ("/runs", "runs", {"GET": reading.runs}),
    ("/runs/<run_id>", "run", {"GET": reading.run}),
    ("/runs/<run_id>/explanation", "explanation", {"GET": reading.explanation}),
    ("/runs/<run_id>/graph", "graph", {"GET": reading.graph}),
    ("/runs/<run_id>/timeline", "timeline", {"GET": reading.timeline}),
    *(
        (f"/runs/<run_id>/{command.verb}", command.name, {"POST": writing.does(command)})
        for command in COMMANDS.values()
    ),
    ("/tasks", "tasks", {"GET": reading.tasks}),
    ("/events", "events", {"GET": reading.events, "POST": writing.send_event}),
    ("/workflows", "workflows", {"GET": reading.workflows}),
    ("/workflows/<name>", "workflow", {"GET": reading.workflow}),
    ("/workflows/<name>/runs", "start", {"POST": writing.start}),
    ("/schedules", "schedules", {"GET": reading.schedules}),
    ("/workers", "workers", {"GET": reading.workers}),
    ("/", "root", {}),
    ("/<path:unknown>", "unknown", {}),
)


def create_api(
    hooks: Hooks,
    *,
    name: str,
    url_prefix: str,
    authenticate: Callable[..., object],
    authorize: Callable[..., object] | None = None,
) -> Dashboard:
    """An API, a new one each time, to be registered on one app.

    hooks: who may do what, and what else the host has to say. name: of the blueprint. url_prefix: where it is mounted.
    authenticate: says who sends a request. authorize: instead of that of the hooks. Raises ConfigurationError for what
    cannot be called.
    """
    api = Dashboard(name, __name__, url_prefix=url_prefix)
    api.hooks, api.own_authorize = hooks, Hooks(authorize=authorize).authorize
    api.authenticate = Hook(KINDS["authenticate"], authenticate)
    for rule, endpoint, answers in ADDRESSES:
        api.add_url_rule(rule, endpoint, _answering(answers), methods=METHODS)
    api.url_value_preprocessor(limit_body)
    api.url_value_preprocessor(lambda _endpoint, _values: _speak_for_programs(api))
    api.before_request(refuse_large)
    api.before_request(lambda: _look_who_asks(api))
    api.before_request(check_address)
    api.after_request(_add_headers)
    problems.register(api)
    return api


def _answering(answers: Answers) -> Callable[..., ResponseReturnValue]:
    """The view of an address: what its methods do, and for the others that there is no such method."""

    def view(**values: str) -> ResponseReturnValue:
        if not answers:
            abort(404)
        called = answers.get("GET" if request.method == "HEAD" else request.method)
        if called is not None:
            configured_runtime()
            return called(**values)
        allowed = [*answers, *(["HEAD"] if "GET" in answers else []), "OPTIONS"]
        if request.method == "OPTIONS":
            return Response(status=204, headers={"Allow": ", ".join(allowed)})
        said = problems.problem(405, "Method Not Allowed", f"This address takes {', '.join(allowed)}.")
        said.headers["Allow"] = ", ".join(allowed)
        return said

    return view


def _speak_for_programs(api: Dashboard) -> None:
    """Before the host's own handlers: no form of a browser's is expected, and nobody's language is asked for."""
    language.speak("en")
    protection: Any = current_app.extensions.get("csrf")
    if hasattr(protection, "exempt"):
        protection.exempt(api)


def _look_who_asks(api: Dashboard) -> Response | None:
    """Remember who asks, for all that follows; answer 401 for nobody. What takes a method is told to everybody."""
    if request.method == "OPTIONS":
        return None
    assert api.authenticate is not None, "it was made with one"
    try:
        most = current_runtime().settings.max_payload_bytes
        found, groups = host_hooks.caller(api.authenticate, request, most)
    except HookFault as fault:
        host_hooks.tell(fault)
        return problems.nobody()
    if found is None:
        return problems.nobody()
    memory().caller, memory().caller_groups = found, groups
    return None


def _add_headers(response: Response) -> Response:
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    return response
