"""Workflows by name."""

from __future__ import annotations

from typing import Any

import pytest

from flask_squidmesh.definition import Manual, Step, Workflow
from flask_squidmesh.definition.workflow import Registry
from flask_squidmesh.errors import ConfigurationError, UnknownWorkflowError


def workflow(class_name: str, **settings: Any) -> type[Workflow]:
    return type(class_name, (Workflow,), {"start": Manual(), "a": Step(lambda: None), **settings})


@pytest.mark.rule("declaring-name")
@pytest.mark.parametrize(
    ("class_name", "name", "title"),
    [
        ("Checkout", "checkout", "Checkout"),
        ("DailyDigest", "daily_digest", "Daily digest"),
        ("HTTPCheck2Retry", "http_check2_retry", "Http check2 retry"),
    ],
)
def test_names_come_from_the_class(class_name: str, name: str, title: str) -> None:
    spec = workflow(class_name).__squidmesh__
    assert (spec.name, spec.title) == (name, title)


@pytest.mark.rule("declaring-name")
def test_workflows_are_found_by_name_alias_and_class() -> None:
    checkout, digest = workflow("Checkout", aliases=["old"]), workflow("Digest", name="daily.digest")
    registry = Registry()
    registry.register(checkout, digest)
    registry.register(checkout)
    spec = checkout.__squidmesh__
    assert registry.get("checkout") is registry.get("old") is registry.get(checkout) is spec
    assert [each.name for each in registry] == ["checkout", "daily.digest"]
    assert len(registry) == 2
    assert "old" in registry
    assert digest in registry
    assert "other" not in registry


@pytest.mark.rule("starting-unknown")
def test_an_unknown_workflow_is_told_with_the_known_ones() -> None:
    registry = Registry()
    with pytest.raises(UnknownWorkflowError, match="registered are: none"):
        registry.get("checkout")
    registry.register(workflow("Checkout"), workflow("Digest"))
    with pytest.raises(
        UnknownWorkflowError, match="No workflow 'cheque' is registered; registered are: checkout, digest"
    ):
        registry.get("cheque")
    with pytest.raises(UnknownWorkflowError, match="No workflow 'Checkout' is registered"):
        registry.get(workflow("Checkout"))
    strangers: list[Any] = [None, 3, Workflow, [], Manual()]
    for stranger in strangers:
        with pytest.raises(UnknownWorkflowError):
            registry.get(stranger)


@pytest.mark.rule("declaring-name-once")
@pytest.mark.parametrize(
    "second",
    [
        {"class_name": "Checkout"},
        {"class_name": "Other", "name": "checkout"},
        {"class_name": "Other", "name": "old"},
        {"class_name": "Other", "aliases": ("checkout",)},
        {"class_name": "Other", "aliases": ("old",)},
    ],
)
def test_a_name_is_taken_once(second: dict[str, Any]) -> None:
    registry = Registry()
    first = workflow("Checkout", aliases=("old",))
    registry.register(first)
    with pytest.raises(ConfigurationError, match=r"is taken by workflow checkout. Give one of them another name"):
        registry.register(workflow("Fine"), workflow(**second))
    assert [*registry] == [first.__squidmesh__]


def test_only_workflows_can_be_registered() -> None:
    class Base(Workflow, abstract=True):
        pass

    strangers: list[Any] = [Base, Workflow, "checkout", int]
    for stranger in strangers:
        with pytest.raises(ConfigurationError, match="register takes workflow classes"):
            Registry().register(stranger)
