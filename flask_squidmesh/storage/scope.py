"""Which runs somebody may know of, as a condition of every query that tells of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from ..definition import Workflow
from ..definition.tenants import NO_TENANT, tenant_id
from ..definition.values import kind
from ..definition.workflow import Registry
from ..errors import FilterError
from .tables import AuditEvent, OpenWait, OutboxEntry, ReceivedEvent, WorkflowRun

Condition = sa.ColumnElement[bool]
Conditions = tuple[Condition, ...]
ScopedRows = type[WorkflowRun] | type[AuditEvent] | type[OpenWait] | type[OutboxEntry]

MOST_APART: Final = 8
_LEFT_OUT: Final[Iterable[str]] = iter(())

# An index that leaves runs of no tenant out is used only where a query says so too, and not by a parameter.
_NO_TENANT: Final = sa.literal_column("''", sa.String)


@dataclass(frozen=True, slots=True, init=False)
class Scope:
    """Which runs a person may know of: those of these tenants, those of these workflows, or both at once.

    tenants: ids of tenants, '' for runs of none; an empty list means no run at all. workflows: registered classes or
    names; a workflow's aliases count as it does. What is left out narrows nothing; for every run write `Scope.all()`.

    Raises FilterError for a text in place of a list, an id that is none, and where both are left out.
    """

    tenants: tuple[str, ...] | None
    workflows: tuple[str, ...] | None

    def __init__(
        self, *, tenants: Iterable[str] = _LEFT_OUT, workflows: Iterable[type[Workflow] | str] = _LEFT_OUT
    ) -> None:
        if tenants is _LEFT_OUT and workflows is _LEFT_OUT:
            raise FilterError("tenants", "Scope() says nothing. Give tenants=, workflows= or both, or use Scope.all().")
        self._set(
            None if tenants is _LEFT_OUT else _listed("tenants", tenants, _tenant),
            None if workflows is _LEFT_OUT else _listed("workflows", workflows, _names),
        )

    @classmethod
    def all(cls) -> Scope:
        """Every run of every tenant."""
        scope = cls.__new__(cls)
        scope._set(None, None)
        return scope

    def _set(self, tenants: tuple[str, ...] | None, workflows: tuple[str, ...] | None) -> None:
        object.__setattr__(self, "tenants", tenants)
        object.__setattr__(self, "workflows", workflows)

    @property
    def is_all(self) -> bool:
        """Whether it leaves nothing out."""
        return self.tenants is None and self.workflows is None

    def to_dict(self) -> dict[str, Sequence[str] | None]:
        """The same as JSON data."""
        return {"tenants": self.tenants, "workflows": self.workflows}

    @classmethod
    def from_dict(cls, document: Mapping[str, Sequence[str] | None]) -> Scope:
        """The scope that `to_dict` was called on."""
        scope = cls.all()
        tenants, workflows = document["tenants"], document["workflows"]
        scope._set(None if tenants is None else tuple(tenants), None if workflows is None else tuple(workflows))
        return scope

    def following(self, registry: Registry) -> Scope:
        """The same with every name that the runs of its workflows may have."""
        if self.workflows is None:
            return self
        scope = Scope.all()
        scope._set(self.tenants, tuple(sorted({name for each in self.workflows for name in registry.names_of(each)})))
        return scope

    def of_tenants(self, tenants: Iterable[str]) -> Scope:
        """The same as far as it is about these tenants. Raises FilterError for what is none."""
        asked = Scope(tenants=tenants).tenants or ()
        scope = Scope.all()
        kept = asked if self.tenants is None else tuple(each for each in asked if each in self.tenants)
        scope._set(kept, self.workflows)
        return scope

    def admits(self, tenant: str, workflow: str) -> bool:
        """Whether a run of this tenant and workflow is in it."""
        of_tenant = self.tenants is None or tenant in self.tenants
        return of_tenant and (self.workflows is None or workflow in self.workflows)

    def within(self, rows: ScopedRows) -> Conditions:
        """The conditions that leave in what it admits. rows: what has the columns `tenant` and `workflow`."""
        return (*self.tenants_of(rows), *self._of_workflows(rows))

    def apart(self, rows: ScopedRows) -> list[Conditions]:
        """The same as alternatives that share no row, each for one tenant as long as those are few.

        A planner reads each of them in the order of an index, but for several tenants at once it would have to sort.
        """
        tenants = self.tenants
        if tenants is None or not 1 < len(tenants) <= MOST_APART:
            return [self.within(rows)]
        return [(*_of_tenant(rows, tenant), *self._of_workflows(rows)) for tenant in tenants]

    def tenants_of(self, rows: ScopedRows | type[ReceivedEvent]) -> Conditions:
        """The conditions that leave in what is of its tenants. rows: what has the column `tenant`."""
        if self.tenants is None:
            return ()
        if len(self.tenants) == 1:
            return _of_tenant(rows, self.tenants[0])
        named = rows.tenant.in_(self.tenants)
        return (named,) if NO_TENANT in self.tenants else (rows.tenant != _NO_TENANT, named)

    def _of_workflows(self, rows: ScopedRows) -> Conditions:
        return () if self.workflows is None else (rows.workflow.in_(self.workflows),)


def scope_of_tenant(tenant: object) -> Scope:
    """The scope of a `tenant=` filter: None for all, one id or several. Raises FilterError."""
    if tenant is None:
        return Scope.all()
    try:
        return Scope(tenants=[tenant] if isinstance(tenant, str) else tenant)  # type: ignore[arg-type]
    except FilterError as error:
        raise FilterError("tenant", str(error).replace("tenants", "tenant", 1)) from error


def _of_tenant(rows: ScopedRows | type[ReceivedEvent], tenant: str) -> Conditions:
    of_it = rows.tenant == tenant
    return (of_it,) if tenant == NO_TENANT else (rows.tenant != _NO_TENANT, of_it)


def _listed(name: str, given: object, read: Callable[[object], tuple[str, ...]]) -> tuple[str, ...]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise FilterError(name, f"{name} must be a list, such as {name}=['acme'], not {kind(given)}.")
    return tuple(sorted({each for item in given for each in read(item)}))


def _tenant(given: object) -> tuple[str, ...]:
    try:
        return (tenant_id(given),)
    except ValueError as unfit:
        raise FilterError("tenants", f"tenants has in it what is no tenant: {unfit}") from unfit


def _names(given: object) -> tuple[str, ...]:
    if isinstance(given, type) and issubclass(given, Workflow) and "__squidmesh__" in vars(given):
        spec = given.__squidmesh__
        return spec.names
    if not isinstance(given, str) or not given or not given.isprintable():
        raise FilterError("workflows", f"workflows must hold workflow classes or names, not {kind(given)}.")
    return (given,)
