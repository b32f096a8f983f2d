"""The one table of commands: whatever offers a command finds in it what the call itself takes."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime

import pytest

from flask_squidmesh import SquidMesh, config
from flask_squidmesh.engine.command_rules import ActionFacts, judge
from flask_squidmesh.engine.command_table import BY_ACTION, BY_VERB, COMMANDS, Command
from flask_squidmesh.runtime.run_commands import CommandHandler

PYTHON_ONLY = {"tenant", "session", "expected", "idempotency_key", "actor"}
FOR_PAGES = {"claimant", "undecided"}


def parameters(function: object) -> set[str]:
    names = inspect.signature(function).parameters  # type: ignore[arg-type]
    return set(names) - {"self", "run_id", "said"}


def given(command: Command) -> set[str]:
    return set(command.arguments.model_fields)


@pytest.mark.rule("one-table")
@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_what_a_command_takes_is_what_its_call_takes(command: Command) -> None:
    python = parameters(getattr(SquidMesh, command.name)) - PYTHON_ONLY
    assert given(command) == python
    handler = parameters(getattr(CommandHandler, command.method)) - FOR_PAGES
    assert given(command) - {"comment", "metadata"} == handler


def test_every_call_that_does_something_to_a_run_is_in_the_table() -> None:
    calls = {
        name
        for name, call in vars(SquidMesh.__mro__[1]).items()
        if not name.startswith("_") and "run_id" in inspect.signature(call).parameters
    }
    assert calls == set(COMMANDS)


def test_each_command_has_a_right_and_a_verb_of_its_own() -> None:
    assert len(BY_VERB) == len(COMMANDS)
    assert set(BY_ACTION) == {"take", *(command.action for command in COMMANDS.values())}
    assert set(BY_ACTION) <= set(config.WRITING_ACTIONS)
    assert all(command.does.endswith(".") for command in COMMANDS.values())


def test_the_rules_are_those_of_commands_of_the_table() -> None:
    later = datetime(2027, 1, 4, 9, tzinfo=UTC)
    possible, refused = judge(ActionFacts(status="running", decides=True, begins_at=later))
    judged = {str(action) for action in possible} | {refusal.call for refusal in refused}
    assert judged == set(COMMANDS) - {"assign_run", "note_run"}
