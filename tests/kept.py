"""What the apps of tests keep from one to the next, because to make it anew takes half the time of a short test."""

from __future__ import annotations

from typing import Any, Final

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.engine import Dialect
from sqlalchemy.util import LRUCache

# For apps without models and binds of their own: its metadata got copies of our tables from the first of them.
DB: Final = SQLAlchemy()


class Compiled(LRUCache[Any, Any]):
    """Compiled statements by the kind of their dialect. SQLAlchemy's own are of one dialect, and so of one engine."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_kind(key), default)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(_of_kind(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_of_kind(key), value)


def _of_kind(key: Any) -> Any:
    dialect, *statement = key
    return (type(dialect) if isinstance(dialect, Dialect) else dialect, *statement)


# Only for engines that are made with no options on which the text of a statement depends.
COMPILED: Final = Compiled(5000)


def set_up_database(app: Flask) -> None:
    """Flask-SQLAlchemy for an app that has no models, with what is kept where the app's settings allow that."""
    if "SQLALCHEMY_BINDS" in app.config:
        SQLAlchemy(app)
        return
    app.config.setdefault("SQLALCHEMY_ENGINE_OPTIONS", {"execution_options": {"compiled_cache": COMPILED}})
    DB.init_app(app)
