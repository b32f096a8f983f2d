"""What people and programs do to runs: one entry for each command, from which everything that offers it is made.

The calls of Python, the pages, actions on many runs, the JSON API and the command line know a command by its entry. A
new one is an entry here and its rule: what it does in `runtime/run_commands.py` under the same name, and, where whoever
looks at a run is told whether it would succeed, when it would in `command_rules.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from .kept_decisions import STANDSTILLS, WAITS, DecisionKind

LONGEST_COMMENT: Final = 10_000
LONGEST_NAME: Final = 200

Text = Annotated[str, Field(min_length=1, max_length=LONGEST_COMMENT, pattern=r"\S")]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


def _time_or_text(value: object) -> object:
    if not isinstance(value, str | datetime):
        raise ValueError("must be a time with a zone, such as 2027-01-04T09:00:00+01:00")
    return value


Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_time_or_text)]


class CommandArguments(BaseModel):
    """What a command is told beside who does it; the base of what each one is told."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    metadata: dict[str, JsonValue] | None = Field(None, description="Further facts, for the audit.")

    def given(self) -> dict[str, Any]:
        """What was said, as keywords of the call."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class CommentArguments(CommandArguments):
    """What takes words."""

    comment: Text | None = Field(None, description="Why, in words, for the audit.")


class StepArguments(CommentArguments):
    """What concerns one step."""

    step: Name | None = Field(None, description="Which step, where several wait.")


class AnswerArguments(StepArguments):
    """An approval or a rejection."""

    answer: dict[str, JsonValue] | None = Field(
        None, description="What is filled into the form; fields left out keep what they begin with."
    )


class DecideArguments(AnswerArguments):
    """An option that is taken."""

    option: Name = Field(description="The name of the option that is taken.")


class AssignArguments(StepArguments):
    """Whose a wait becomes."""

    to: Name | None = Field(description="The id of the person whose it becomes; null for nobody's.")
    expected_assignee: Name | None = Field(
        None,
        description="Whose it was when this was decided, null for nobody's; nothing is done where it is another's.",
    )


class NoteArguments(CommandArguments):
    """Words on a run."""

    text: Text = Field(description="What is written on the run.")


class ResolveArguments(StepArguments):
    """What a step came to."""

    output: dict[str, JsonValue] | None = Field(None, description="What the step would have returned.")
    allow_new_keys: bool = Field(
        False, description="Whether keys that the step never returns may overwrite what the run's state holds."
    )


class FailArguments(StepArguments):
    """Why a step counts as failed."""

    reason: Text | None = Field(None, description="Why the step counts as failed, for its error.")


class RescheduleArguments(CommentArguments):
    """When a run begins that has not begun."""

    at: Moment = Field(description="When it begins; a time that has just passed for at once.")


class CancelArguments(CommentArguments):
    """How a run is stopped."""

    compensate: bool = Field(False, description="Whether the steps that completed are undone.")


class ReplayArguments(CommentArguments):
    """How a run is replayed."""

    allow_irreversible: bool = Field(False, description="Whether steps may run again that cannot be undone.")
    from_step: Name | None = Field(None, description="The step to begin at; null for the beginning.")


TokenUse = Literal["open", "unfinished", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    name: of the Python call. action: what `authorize` is asked for; own_action: what instead where it concerns oneself
    alone. verb: in addresses and on the command line. does: what it does, in a sentence. arguments: what it takes.
    settles: the kinds of open decisions that it may end or change, none where it concerns the run; opened: what these
    are called. expects: what has to hold of what a caller saw for the command to be carried out: what is `open` still
    is, the run is `unfinished`, or nothing. answers: whether it answers what is asked of people. names_actor: whether
    it has to be said who does it. is_for_many: whether it is offered for many runs at once.
    """

    name: str
    action: str
    verb: str
    does: str
    arguments: type[CommandArguments] = CommentArguments
    settles: tuple[DecisionKind, ...] = ()
    opened: str = "interrupted or blocked step"
    own_action: str | None = None
    expects: TokenUse = "open"
    answers: bool = False
    names_actor: bool = False
    is_for_many: bool = False

    @property
    def asks_whose(self) -> bool:
        """Whether it is done at what waits for people, by one of those whose it is."""
        return not set(self.settles).isdisjoint(WAITS)

    @property
    def takes_step(self) -> bool:
        """Whether it concerns one step."""
        return issubclass(self.arguments, StepArguments)

    @property
    def method(self) -> str:
        """What carries it out."""
        return self.name.removesuffix("_run")


_ALL: Final = (
    Command(
        name="approve_run",
        action="approve",
        verb="approve",
        does="Approve what waits for approval.",
        arguments=AnswerArguments,
        settles=("approval", "decision"),
        opened="approval",
        answers=True,
        names_actor=True,
        is_for_many=True,
    ),
    Command(
        name="reject_run",
        action="reject",
        verb="reject",
        does="Reject what waits for approval.",
        arguments=AnswerArguments,
        settles=("approval", "decision"),
        opened="approval",
        answers=True,
        names_actor=True,
        is_for_many=True,
    ),
    Command(
        name="decide_run",
        action="decide",
        verb="decide",
        does="Take an option of what waits for a decision.",
        arguments=DecideArguments,
        settles=("decision",),
        opened="decision",
        answers=True,
        names_actor=True,
        is_for_many=True,
    ),
    Command(
        name="unblock_run",
        action="resume",
        verb="resume",
        does="Let a run go on that a pause holds.",
        arguments=StepArguments,
        settles=("pause",),
        opened="pause",
        answers=True,
        is_for_many=True,
    ),
    Command(
        name="assign_run",
        action="assign",
        own_action="take",
        verb="assign",
        does="Make what waits for people somebody's: taking it, handing it on, or giving it back.",
        arguments=AssignArguments,
        settles=WAITS,
        opened="wait for people",
        is_for_many=True,
    ),
    Command(
        name="retry_step",
        action="retry",
        verb="retry",
        does="Attempt a step again that was interrupted or could not begin.",
        arguments=StepArguments,
        settles=STANDSTILLS,
        is_for_many=True,
    ),
    Command(
        name="resolve_step",
        action="resolve",
        verb="resolve",
        does="Say that a step took effect which was interrupted or could not begin.",
        arguments=ResolveArguments,
        settles=STANDSTILLS,
    ),
    Command(
        name="fail_step",
        action="fail",
        verb="fail",
        does="Say that a step failed which was interrupted or could not begin.",
        arguments=FailArguments,
        settles=STANDSTILLS,
    ),
    Command(
        name="retry_compensation",
        action="retry_compensation",
        verb="retry-compensation",
        does="Try the failed compensations of a run again.",
        is_for_many=True,
    ),
    Command(
        name="replay_run",
        action="replay",
        verb="replay",
        does="Start a new run with the payload of a finished one.",
        arguments=ReplayArguments,
        is_for_many=True,
    ),
    Command(
        name="acknowledge_run",
        action="acknowledge",
        verb="acknowledge",
        does="Take a failed run out of what needs a person.",
        is_for_many=True,
    ),
    Command(
        name="cancel_run",
        action="cancel",
        verb="cancel",
        does="Cancel a run: at once, or when the steps that are executing have ended.",
        arguments=CancelArguments,
        expects="unfinished",
        is_for_many=True,
    ),
    Command(
        name="reschedule_run",
        action="reschedule",
        verb="reschedule",
        does="Have a run begin at another time that has not begun.",
        arguments=RescheduleArguments,
        expects="unfinished",
    ),
    Command(
        name="note_run",
        action="note",
        verb="note",
        does="Write words on a run, for everybody who reads it.",
        arguments=NoteArguments,
        expects="none",
    ),
)

COMMANDS: Final[Mapping[str, Command]] = {command.name: command for command in _ALL}
"""By the names of the Python calls."""

BY_ACTION: Final[Mapping[str, Command]] = {
    action: command for command in _ALL for action in (command.own_action, command.action) if action is not None
}
"""By what `authorize` is asked for."""

BY_VERB: Final[Mapping[str, Command]] = {command.verb: command for command in _ALL}
