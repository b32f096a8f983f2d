"""The steps that wait for a person: what is asked, of whom, and what happens when nobody answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import BaseModel

from . import state_expressions
from .elements import Approval, Decision, ManualStep, Option
from .model_reader import FORM, read_model
from .spec import OptionSpec, Path, StepSpec
from .step_reader import StepReader
from .wait_reader import WaitingStepReader

MOST_APPROVALS: Final = 20
LONGEST_OPTION: Final = 60

# Words that records and routes already have for how a wait ends.
RESERVED_OPTIONS: Final = frozenset(
    {"approved", "decided", "error", "ok", "option", "rejected", "resumed", "timed_out", "timeout"}
)


def option_names(decision: Decision) -> tuple[str, ...]:
    """What the options are called, whether they can be called so or not."""
    options = decision.options if isinstance(decision.options, (list, tuple)) else ()
    names = (each.name if isinstance(each, Option) else each for each in options)
    return tuple(name for name in names if isinstance(name, str))


def not_by_problems(steps: Mapping[str, StepSpec]) -> Iterator[str]:
    """What is wrong with the decisions that not_by= names."""
    decisions = {name: step for name, step in steps.items() if step.kind in ("approval", "decision")}
    for name, step in decisions.items():
        for other in step.not_by:
            known = ", ".join(each for each in decisions if each != name) or "none"
            if other == name:
                yield f"step {name}: not_by= names the step itself; name another decision, or leave it out"
            elif other not in steps:
                yield f"step {name}: not_by= names {other!r}, which is no step of this class; decisions are: {known}"
            elif other not in decisions:
                yield f"step {name}: not_by= names {other}, where nobody decides anything; decisions are: {known}"


class ManualStepReader(WaitingStepReader):
    """Reads one step that waits for a person."""

    def read(self, step: ManualStep) -> StepSpec:
        """The checked step, without where it leads."""
        within, within_at = self.within(step.within)
        assignee = self.person(step.assignee, "the assignee")
        groups = self.groups(step.groups, "groups")
        answers = _AnswerReader(self.name, self.problems)
        options = answers.options(step) if isinstance(step, Decision) else ()
        approvals, not_starter = answers.approvers(step) if isinstance(step, Decision) else (1, False)
        output = self.output(step.output) or (self.name if isinstance(step, Decision) else None)
        return StepSpec(
            name=self.name,
            kind="approval" if isinstance(step, Approval) else "decision" if isinstance(step, Decision) else "pause",
            prompt=self._prompt(step.prompt),
            output=output,
            permission=self._permission(step.permission),
            max_visits=self.visits(step),
            options=options,
            form_input=answers.input(step.input, options) if isinstance(step, Decision) else {},
            updates=answers.updates(step.updates, options, output) if isinstance(step, Decision) else (),
            approvals=approvals,
            not_starter=not_starter,
            not_by=answers.not_by(step.not_by) if isinstance(step, Decision) else (),
            assignee=assignee,
            groups=groups,
            within=within,
            within_at=within_at,
            remind=self.reminders(step.remind, within),
            escalate=self.escalations(step.escalate, within, assignee, groups),
        )

    def _prompt(self, prompt: object) -> str | None:
        faults = [] if prompt is None else state_expressions.problems(prompt)
        for fault in faults:
            self.fault(f"the prompt {fault}")
        return prompt if isinstance(prompt, str) and not faults else None

    def _permission(self, permission: object) -> str | None:
        if permission is None or (isinstance(permission, str) and permission.strip()):
            return permission
        self.fault(f'permission={permission!r} must be non-empty text; write permission="payments.review"')
        return None


class _AnswerReader(StepReader):
    """Reads what a Decision asks and who may answer."""

    def options(self, step: Decision) -> tuple[OptionSpec, ...]:
        shared = None if step.form is None else read_model(step.form, FORM, self.place, self.problems)
        if isinstance(step, Approval):
            return OptionSpec(name="approve", form=shared), OptionSpec(name="reject")
        if step.options in ((), []):
            self.fault('has no options, so that nobody could answer; write options=("approve", "reject")')
            return ()
        if not isinstance(step.options, (list, tuple)):
            self.fault(f'options={step.options!r} must be a tuple of options; write options=("approve", "reject")')
            return ()
        found: dict[str, OptionSpec] = {}
        for each in step.options:
            option = each if isinstance(each, Option) else Option(each)
            if self._is_name(option.name) and option.name in found:
                self.fault(f"has two options {option.name!r}; give one of them another name")
            elif self._is_name(option.name):
                found[option.name] = self._option(option, shared)
            else:
                self._refuse(option.name)
        if shared and found and all(each.form not in (None, shared) for each in found.values()):
            self.fault("form= is asked by no option, for each has a form of its own; remove it")
        return tuple(found.values())

    def _is_name(self, name: object) -> bool:
        if not isinstance(name, str) or name in RESERVED_OPTIONS:
            return False
        return name.isidentifier() and len(name) <= LONGEST_OPTION

    def _refuse(self, name: object) -> None:
        if isinstance(name, str) and name in RESERVED_OPTIONS:
            self.fault(
                f"no option can be called {name!r}, for {', '.join(sorted(RESERVED_OPTIONS))} have a meaning already; "
                "give it another name"
            )
        else:
            self.fault(
                f"the option {name!r} is no name; write letters, digits and underscores, at most {LONGEST_OPTION}, "
                'as options=("approve", "ask_back")'
            )

    def _option(self, option: Option, shared: type[BaseModel] | None) -> OptionSpec:
        if not isinstance(option.comment_required, bool):
            self.fault(f"option {option.name}: comment_required={option.comment_required!r} must be True or False")
        place = f"{self.place}: option {option.name}"
        form = shared if option.form is None else read_model(option.form, FORM, place, self.problems)
        return OptionSpec(name=option.name, form=form, comment_required=option.comment_required is True)

    def input(self, input: object, options: Sequence[OptionSpec]) -> dict[str, Path]:
        if not isinstance(input, (Mapping, type(None))):
            self.fault(f'input={input!r} must map fields to paths; write input={{"amount": "invoice.amount"}}')
            return {}
        found: dict[str, Path] = {}
        for field, given in (input or {}).items():
            path = state_expressions.parse(given)
            if path is None:
                self.fault(
                    f"input= gives {field} the path {given!r}; write names joined by dots, as "
                    f'input={{"{field}": "invoice.amount"}}'
                )
            elif self._is_field(field, "input", options):
                found[str(field)] = path
        return found

    def updates(self, updates: object, options: Sequence[OptionSpec], output: str | None) -> tuple[str, ...]:
        found = [each for each in self.names(updates, "updates", "amount") if self._is_field(each, "updates", options)]
        if output in found:
            self.fault(f'updates= names {output}, under which its record is kept; name another key with output="..."')
        return tuple(str(each) for each in found)

    def _is_field(self, name: object, argument: str, options: Sequence[OptionSpec]) -> bool:
        forms = [option.form for option in options if option.form]
        fields = list(dict.fromkeys(field for form in forms for field in form.model_fields))
        if name in fields:
            return True
        self.fault(
            f"{argument}= names {name!r}, which is no field of a form; "
            + (f"fields are {', '.join(fields)}" if fields else "write form=Review too")
        )
        return False

    def approvers(self, step: Decision) -> tuple[int, bool]:
        count, not_starter = step.approvals, step.not_starter
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_APPROVALS:
            self.fault(f"approvals={count!r} must be a whole number from 1 to {MOST_APPROVALS}; write approvals=2")
        if not isinstance(not_starter, bool):
            self.fault(f"not_starter={not_starter!r} must be True or False; write not_starter=True")
        return count, not_starter

    def not_by(self, not_by: object) -> tuple[str, ...]:
        return tuple(str(each) for each in self.names(not_by, "not_by", "review"))
