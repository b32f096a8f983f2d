"""One request for a command: what it is about, whether it can be done now, and whether this person may."""

from __future__ import annotations

from dataclasses import dataclass, field

from markupsafe import Markup

from ..engine.command_effects import Blocking, Obstacle, UnsafeReplay
from ..engine.command_rules import NextAction, Refusal
from ..queries.results import DecisionAsked, Explanation, Run
from ..queries.run_snapshot import RunSnapshot
from ..runtime.runtime import current_runtime
from .answer_form import AnswerForm, form_of
from .authorization import Refused, current_actor, may, require
from .available_commands import (
    CONFIRMED_REPLAY,
    UNSAFE,
    ShownCommand,
    decided_last,
    decision_at,
    kept_option,
    may_not_take,
    not_theirs,
    permission_at,
    takes_comment,
)
from .text.command_text import option_label
from .text.language import _


@dataclass(slots=True)
class CommandAttempt:
    """One request for a command: what it is about, and what is wrong with the form so far.

    option: what is taken at a decision, None where none is chosen. blocked_from: the step from which a replay would
    repeat what is `blocking`; None for the beginning. answer: the form of the option, None where it has none.
    """

    look: RunSnapshot
    command: ShownCommand
    step: str | None
    option: str | None = None
    answer: AnswerForm | None = None
    blocking: list[Blocking] = field(default_factory=list)
    blocked_from: str | None = None
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def run(self) -> Run:
        """What it is about."""
        return self.look.run

    @property
    def explanation(self) -> Explanation:
        """What can be done."""
        return self.look.explanation

    @property
    def right(self) -> str:
        """The word for `authorize`."""
        return CONFIRMED_REPLAY if self.blocking else self.command.name

    @property
    def possible(self) -> NextAction | None:
        """The command as it would succeed now."""
        found = [each for each in offered(self) if each.step == self.step]
        return next((each for each in found if each.option in (None, self.option)), None)

    @property
    def refusal(self) -> Refusal | None:
        """Why it would not succeed now."""
        return next((each for each in self.explanation.refusals if each.action == self.command.name), None)

    @property
    def decision(self) -> DecisionAsked | None:
        """What is, or was, asked at the step; None where nothing ever was."""
        return decision_at(self.run, self.step)

    @property
    def label(self) -> Markup:
        """What it is called."""
        return option_label(self.option) if self.option is not None else self.command.label

    @property
    def comment_required(self) -> bool:
        """Whether it takes words."""
        by_right = current_runtime().config.dashboard.comment_required
        return takes_comment(self.decision, self.option) or self.right in by_right


def attempt_at(
    look: RunSnapshot, command: ShownCommand, chosen: str | None, option: str | None = None
) -> CommandAttempt:
    """The command at the step that was chosen, or is meant where none was, with the option that it takes there."""
    attempt = CommandAttempt(look, command, _step(look, command, chosen))
    attempt.option = _option(attempt, option)
    if attempt.option is not None and attempt.step is not None and attempt.decision is not None:
        attempt.answer = form_of(look.run, attempt.decision, attempt.step, attempt.option)
    if attempt.refusal is not None and attempt.refusal.reason == UNSAFE:
        attempt.blocking = _blocking(attempt.refusal.details)
    return attempt


def allow(attempt: CommandAttempt) -> None:
    """Go on only if the person may do it there, and would be on record. Raises Refused."""
    require_right(attempt, attempt.right)
    run, decision, name = attempt.run, attempt.decision, attempt.command.name
    objection = not_theirs(run, decision, attempt.step) if attempt.command.command.answers else None
    objection = objection or may_not_take(run, name, attempt.option, decision)
    if objection is not None and attempt.possible is not None:
        raise Refused(attempt.command.name, objection, run_id=attempt.run.id)
    if current_actor() is None:
        raise Refused(
            attempt.command.name, _("Nobody would be recorded as having done it: the app has to give mesh.actor.")
        )


def require_right(attempt: CommandAttempt, right: str) -> None:
    """Go on only with the right to it at the step, or at one of the steps where none was chosen. Raises Refused."""
    if steps_to_choose(attempt):
        return
    waiting = [each.step for each in offered(attempt)]
    step = waiting[0] if attempt.step is None and waiting else attempt.step
    require(right, attempt.run, permission_at(attempt.run, step), step=step, option=attempt.option)


def _option(attempt: CommandAttempt, chosen: str | None) -> str | None:
    """The option that the command takes at the step; None where it is no decision, or none was chosen of several."""
    decision, name = attempt.decision, attempt.command.name
    if decision is None or name not in ("approve", "reject", "decide"):
        return None
    if name != "decide":
        return name if decision["kind"] == "decision" or kept_option(decision, name) else None
    named = [each.option for each in offered(attempt) if each.step == attempt.step and each.option]
    return chosen if chosen else named[0] if len(named) == 1 else None


def _step(look: RunSnapshot, command: ShownCommand, chosen: str | None) -> str | None:
    """The step that was chosen, else the only one that there is to choose, else the one decided last."""
    acts = [each.step for each in look.explanation.next_actions if each.action == command.name]
    steps = list(dict.fromkeys(acts))
    if chosen or len(steps) > 1:
        return chosen
    return steps[0] if steps else decided_last(look.run, command.name)


def steps_to_choose(attempt: CommandAttempt) -> list[str]:
    """Those that the person may decide, where several steps wait and none was chosen."""
    if attempt.step is not None:
        return []
    asked = {each.step: permission_at(attempt.run, each.step) for each in offered(attempt) if each.step}
    return [step for step in asked if may(attempt.command.name, attempt.run, asked[step], step=step)]


def offered(attempt: CommandAttempt) -> list[NextAction]:
    """The command as it would succeed now: once for each step, and at a decision for each option."""
    return [each for each in attempt.explanation.next_actions if each.action == attempt.command.name]


def _blocking(obstacle: Obstacle) -> list[Blocking]:
    return list(obstacle.blocked_by) if isinstance(obstacle, UnsafeReplay) else []
