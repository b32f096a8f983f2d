"""What `flow` is written with: steps joined by arrows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Never

from .spec import Recovery

Outcome = Literal["ok", "error", "reject"]
Operator = Literal["equals", "greater_than", "less_than"]


class _Unset:
    def __repr__(self) -> str:
        return "<not given>"


_UNSET: Final = _Unset()


@dataclass(frozen=True, eq=False)
class When:
    """What `when` was called with, not yet checked."""

    path: Any
    tests: dict[Operator, Any]

    def __str__(self) -> str:
        return ", ".join([repr(self.path), *(f"{name}={value!r}" for name, value in self.tests.items())])


@dataclass(frozen=True, eq=False)
class Link:
    """One arrow: from an outcome of a step to another step."""

    start: RouteStart
    target: Any


@dataclass(frozen=True, eq=False)
class RouteStart:
    """An outcome of a step, ready for the arrow that says where it leads."""

    source: Any
    outcome: Outcome = "ok"
    when: When | None = None
    recovery: Any = None

    @property
    def plain(self) -> bool:
        """Whether this is no more than the step itself."""
        return self.outcome == "ok" and self.when is None and self.recovery is None

    def __rshift__(self, target: Node | Chain) -> Chain:
        if not isinstance(target, Chain):
            return Chain((Link(self, target),))
        first = target.links[0].start
        return Chain((Link(self, first.source if first.plain else first), *target.links))

    def __call__(self, *, recovery: Recovery) -> RouteStart:
        """Name the kind of recovery for people and the audit: "compensation" or "undo". It undoes nothing by itself.

        Only after `on_error`: `charge.on_error(recovery="compensation") >> issue_credit`.
        """
        return replace(self, recovery=recovery)


@dataclass(frozen=True, eq=False)
class Chain:
    """Arrows in a row: `a >> b >> c`."""

    links: tuple[Link, ...]

    def __rshift__(self, target: Node | Chain) -> Chain:
        end = self.links[-1].target
        start = end if isinstance(end, RouteStart) else RouteStart(end)
        return Chain((*self.links, *(start >> target).links))


class Node:
    """Anything that an arrow can start from or lead to."""

    def __rshift__(self, target: Node | Chain) -> Chain:
        return RouteStart(self) >> target

    def __rrshift__(self, start: Never) -> Chain:
        """What stands before the arrow is no step: kept, so that it is refused together with all other faults."""
        return Chain((Link(RouteStart(start), self),))

    @property
    def on_error(self) -> RouteStart:
        """Where the final failure of a `Step` leads: `charge.on_error >> notify`."""
        return RouteStart(self, "error")

    @property
    def on_reject(self) -> RouteStart:
        """Where the rejection of an `Approval` leads: `review.on_reject >> decline`."""
        return RouteStart(self, "reject")

    def when(
        self, path: str, *, equals: Any = _UNSET, greater_than: Any = _UNSET, less_than: Any = _UNSET
    ) -> RouteStart:
        """Follow the arrow only when a value of the state passes one test: `classify.when("score", less_than=3) >> ok`.

        path: where the value is, as "account.tier". Give exactly one of the tests; numbers are compared as decimals,
        a missing path is false. The first route that matches is taken, then the one without a condition.
        """
        given: dict[Operator, Any] = {"equals": equals, "greater_than": greater_than, "less_than": less_than}
        return RouteStart(self, when=When(path, {name: v for name, v in given.items() if v is not _UNSET}))
