"""The app that Squid Mesh lives in, and what it brings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session

from .config import Config
from .definition.workflow import Registry
from .storage import migrations


class HostApp:
    """The app: its settings, its workflows, and its Flask-SQLAlchemy with the engine and the metadata of our tables."""

    def __init__(self, app: Flask, settings: Config, workflows: Registry) -> None:
        self.app, self.settings, self.workflows = app, settings, workflows

    @property
    def extension(self) -> object:
        """What calls itself the app's SQLAlchemy; None where nothing does."""
        return self.app.extensions.get("sqlalchemy")

    @property
    def db(self) -> SQLAlchemy | None:
        """The app's Flask-SQLAlchemy; None where there is none."""
        return self.extension if isinstance(self.extension, SQLAlchemy) else None

    @property
    def metadata(self) -> sa.MetaData | None:
        """The metadata of the bind that holds our tables; None where there is no such bind."""
        return None if self.db is None else self.db.metadatas.get(self.settings.bind)

    @property
    def engine(self) -> sa.Engine | None:
        """The host's engine of the bind that holds our tables; None where there is no such bind."""
        return self.engines.get(self.settings.bind)

    @property
    def engines(self) -> Mapping[str | None, sa.Engine]:
        """The host's engines by their binds.

        No context is pushed where there is one of the app already: with the end of ours a session may be removed that
        is the caller's.
        """
        if self.db is None:
            return {}
        if current_app and current_app._get_current_object() is self.app:  # type: ignore[attr-defined]
            return self.db.engines
        with self.app.app_context():
            return self.db.engines

    def session_here(self) -> Session | None:
        """The session of the present app context, where that is of this app and has used one."""
        sessions = self.app.extensions["sqlalchemy"].session
        if not sessions.registry.registry:  # nobody has used one, which is quicker to see than whose context this is
            return None
        try:
            if not sessions.registry.has():
                return None
        except RuntimeError:  # outside any context
            return None
        return sessions() if current_app._get_current_object() is self.app else None  # type: ignore[attr-defined]

    def share_tables(self) -> None:
        """Have the host's metadata hold our tables from the moment on that its Flask-SQLAlchemy is set up."""
        watch(self.app, "sqlalchemy", self._share_tables)

    def _share_tables(self) -> None:
        if self.db is None:
            return
        bind, metadatas = self.settings.bind, self.db.metadatas
        if bind not in metadatas and bind in (self.app.config.get("SQLALCHEMY_BINDS") or {}):
            convention = self.db.metadata.naming_convention
            metadatas[bind] = sa.MetaData(naming_convention=convention, info={"bind_key": bind})
        if bind in metadatas:
            migrations.share(metadatas[bind])
            if self.settings.executor == "procrastinate":
                migrations.spare(metadatas[bind], "procrastinate_")


class Extensions(dict[str, Any]):
    """An app's extensions by name, which calls back when one is set up."""

    def __init__(self, present: Mapping[str, object]) -> None:
        super().__init__(present)
        self.awaited = defaultdict[str, list[Callable[[], None]]](list)

    def __setitem__(self, name: str, extension: object) -> None:
        super().__setitem__(name, extension)
        for then in self.awaited.get(name, ()):
            then()


def watch(app: Flask, name: str, then: Callable[[], None]) -> None:
    """Call `then` when the app has the extension of this name: at once where it has it already, and whenever it is set.

    Flask tells nobody of an extension that is set up, so its dictionary of them has to.
    """
    if not isinstance(app.extensions, Extensions):
        app.extensions = Extensions(app.extensions)
    app.extensions.awaited[name].append(then)
    if name in app.extensions:
        then()
