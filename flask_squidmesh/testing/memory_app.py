"""A whole host in memory, made in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from ..clock import SettableClock
from ..definition.workflow import Workflow
from ..extension import SquidMesh
from ..notices import Notice
from ..subscriptions import Subscription

SETTINGS = {
    "TESTING": True,
    "SECRET_KEY": "for tests",
    "SQLALCHEMY_DATABASE_URI": "sqlite://",
    "SQUIDMESH_EXECUTOR": "database",
    "SQUIDMESH_URL_PREFIX": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One message that a channel would have sent. channel: the name it was added under. receiver: whom it goes to, ''
    where the channel was added without `to`. notices: what it says, several where it is a digest."""

    channel: str
    receiver: str
    notices: Sequence[Notice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """An app with the extension, its database and its clock.

    `mesh` starts and steers runs, `clock` is moved, and `told` has what the channels of the host's own SquidMesh would
    have sent, in that order.
    """

    app: Flask
    db: SQLAlchemy
    mesh: SquidMesh
    clock: SettableClock
    told: list[Told] = field(default_factory=list)


class _Noting:
    """Keeps what a channel would have sent."""

    def __init__(self, name: str, told: list[Told]) -> None:
        self._name, self._told = name, told

    def send(self, receiver: str, notices: Sequence[Notice]) -> None:
        """Keep the message."""
        self._told.append(Told(channel=self._name, receiver=receiver, notices=tuple(notices)))


@contextmanager
def memory_app(
    *workflows: type[Workflow],
    db: SQLAlchemy | None = None,
    mesh: SquidMesh | None = None,
    config: Mapping[str, object] | None = None,
) -> Iterator[Host]:
    """An app on an SQLite database in memory, with all tables, in whose app context the block runs.

    workflows: what can be started. db: the host's own SQLAlchemy, where steps use the host's tables; they are made
    too. mesh: the host's own SquidMesh, of which everything registered so far holds here too: workflows, subscribers,
    addresses and hooks; its channels send nothing, and what they would have sent stands in `told`. config: further
    settings of the app, or other ones, e.g. {"SQUIDMESH_URL_PREFIX": "/squidmesh"} for the pages.

    Calls of the host's own SquidMesh object work inside the block as well, because they look for the present app.
    """
    clock, told = SettableClock(), list[Told]()

    def noting(subscription: Subscription) -> _Noting:
        return _Noting(subscription.name, told)

    ours = SquidMesh(clock=clock) if mesh is None else mesh._rehearsal(clock, noting)
    host = Host(app=Flask("host"), db=db or SQLAlchemy(), mesh=ours, clock=clock, told=told)
    host.app.config.update({**SETTINGS, **(config or {})})
    if workflows:
        host.mesh.register(*workflows)
    host.db.init_app(host.app)
    host.mesh.init_app(host.app)
    with host.app.app_context():
        host.db.create_all()
        try:
            yield host
        finally:
            host.db.session.remove()
            for engine in host.db.engines.values():
                engine.dispose()
