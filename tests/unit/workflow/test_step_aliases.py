"""Names that steps had before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_squidmesh.definition import Approval, Log, Manual, Pause, Step, Wait, Workflow
from flask_squidmesh.errors import DefinitionError


def work() -> None: ...


KINDS: dict[str, Callable[..., Any]] = {
    "step": lambda **options: Step(work, **options),
    "wait": lambda **options: Wait(60, **options),
    "log": lambda **options: Log("said", **options),
    "pause": lambda **options: Pause("Well?", **options),
    "approval": lambda **options: Approval("Good?", **options),
}


def declared(aliases: Any, *, kind: str = "step", others: Any = ()) -> Any:
    """The definition of a workflow whose step `pay` had these names, and `tell` those."""
    pay, tell = KINDS[kind](aliases=aliases, after=[]), Step(work, aliases=others, after=[])
    body = {"start": Manual(), "pay": pay, "tell": tell}
    return type("Paying", (Workflow,), body).__squidmesh__  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_any_kind_keeps_the_names_it_had(kind: str) -> None:
    spec = declared(("charge", "debit"), kind=kind)
    assert spec.steps["pay"].aliases == ("charge", "debit")
    assert spec.step_names == {"pay": "pay", "charge": "pay", "debit": "pay", "tell": "tell"}


@pytest.mark.rule("declaring-step-alias")
@pytest.mark.parametrize(
    ("aliases", "others", "problem"),
    [
        (("tell",), (), "step pay: the alias tell is the name of step tell; remove it from one of them"),
        (("pay",), (), "step pay: the alias pay is its own name; remove it from aliases="),
        (("old",), ("old",), "step tell: the alias old is an alias of step pay; remove it from one of them"),
        (("old", "old"), (), "step pay: the alias old is an alias of step pay; remove it from one of them"),
        ("charge", (), "step pay: aliases='charge' must be a tuple of names; write aliases=(\"old_name\",)"),
        (None, (), 'step pay: aliases=None must be a tuple of names; write aliases=("old_name",)'),
        ((7,), (), 'step pay: the alias 7 is no name of a step; write aliases=("old_name",)'),
        (("",), (), "step pay: the alias '' is no name of a step; write aliases=(\"old_name\",)"),
        (("a b",), (), "step pay: the alias 'a b' is no name of a step; write aliases=(\"old_name\",)"),
    ],
)
def test_an_alias_belongs_to_one_step(aliases: Any, others: Any, problem: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        declared(aliases, others=others)
    assert problem in caught.value.problems


def test_an_alias_shows_in_the_fingerprint() -> None:
    assert declared(("charge",)).fingerprint != declared(()).fingerprint
