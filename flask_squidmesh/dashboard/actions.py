"""The actions an operator has on a run: one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ..runtime import control, replaying
from ..store.summaries import RunSummary
from .language import N_, _
from .parameters import NotJson, json_of

Form = Mapping[str, str]


class Invalid(Exception):
    """A field of the form is missing or wrong; `message` says so to the person who filled it in."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """verb: its page below the run's. name: the word for `authorize`. call: the control call that does it.

    extras: what the form adds to the call; raises Invalid. fields: the template with those parts of the form.
    """

    verb: str
    name: str
    call: Callable[..., RunSummary]
    text: str
    tone: str = ""
    key: str = ""
    on_step: bool = False
    fields: str | None = None
    extras: Callable[[Form], dict[str, Any]] = lambda _form: {}

    @property
    def label(self) -> Markup:
        """What stands on its button."""
        return _(self.text)


def _compensate(form: Form) -> dict[str, Any]:
    return {"compensate": form.get("compensate") == "yes"}


def _from_step(form: Form) -> dict[str, Any]:
    return {"from_step": form.get("from_step") or None}


def _output(form: Form) -> dict[str, Any]:
    text = form.get("output", "").strip()
    try:
        output = json_of(text) if text else {}
    except NotJson as error:
        raise Invalid("output", error.reason) from error
    if not isinstance(output, dict):
        raise Invalid("output", _("The output of a step is a JSON object, such as {example}.", example='{"id": "c-1"}'))
    return {"output": output, "allow_new_keys": form.get("allow_new_keys") == "yes"}


def _reason(form: Form) -> dict[str, Any]:
    reason = form.get("reason", "").strip()
    if not reason:
        raise Invalid("reason", _("Say in a few words why the step counts as failed."))
    return {"reason": reason}


_ALL = (
    Action(verb="approve", name="approve", call=control.approve, text=N_("Approve"), tone="go", key="a", on_step=True),
    Action(verb="reject", name="reject", call=control.reject, text=N_("Reject"), tone="danger", key="x", on_step=True),
    Action(verb="resume", name="resume", call=control.unblock, text=N_("Resume"), tone="go", on_step=True),
    Action(verb="retry", name="retry", call=control.retry_step, text=N_("Run the step again"), on_step=True),
    Action(
        verb="resolve",
        name="resolve",
        call=control.resolve_step,
        text=N_("Count the step as done"),
        on_step=True,
        fields="_output_field.html",
        extras=_output,
    ),
    Action(
        verb="fail",
        name="fail",
        call=control.fail_step,
        text=N_("Count the step as failed"),
        tone="danger",
        on_step=True,
        fields="_reason_field.html",
        extras=_reason,
    ),
    Action(
        verb="retry-compensation",
        name="retry_compensation",
        call=control.retry_compensation,
        text=N_("Try again to undo"),
    ),
    Action(
        verb="replay",
        name="replay",
        call=replaying.replay,
        text=N_("Replay"),
        fields="_replay_fields.html",
        extras=_from_step,
    ),
    Action(verb="acknowledge", name="acknowledge", call=control.acknowledge, text=N_("Acknowledge")),
    Action(
        verb="cancel",
        name="cancel",
        call=control.cancel,
        text=N_("Cancel run"),
        tone="danger",
        fields="_cancel_field.html",
        extras=_compensate,
    ),
)
ACTIONS: Mapping[str, Action] = {action.name: action for action in _ALL}
BY_VERB: Mapping[str, Action] = {action.verb: action for action in _ALL}
