"""The host: `flask --app tests.chaos.shop`, told by its environment which executor and which database."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Final

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_squidmesh import SquidMesh
from flask_squidmesh.runtime import relay
from flask_squidmesh.storage import queues, work_queue, write_batch

from . import records
from .executors import EXECUTORS
from .workflows import WORKFLOWS

EXECUTOR: Final = "CHAOS_EXECUTOR"
CLAIM_TIMEOUT: Final = "CHAOS_CLAIM_TIMEOUT"
MESH: Final = "squidmesh_of_trial"
PATIENCE: Final = timedelta(seconds=5)


def create_app() -> Flask:
    """One process's app."""
    _hurry()
    app = Flask("chaos")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=os.environ[records.URL],
        SQUIDMESH_EXECUTOR=EXECUTORS[os.environ[EXECUTOR]](),
        SQUIDMESH_CLAIM_TIMEOUT=float(os.environ[CLAIM_TIMEOUT]),
        SQUIDMESH_URL_PREFIX=None,
    )
    SQLAlchemy(app)
    mesh = SquidMesh()
    mesh.register(*WORKFLOWS)
    mesh.init_app(app)
    app.extensions[MESH] = mesh
    return app


def _hurry() -> None:
    """The relay looks at a hand-over again after seconds, not minutes, so that a trial of minutes sees it."""
    for module, name in (
        *((module, "RELAY_GRACE") for module in (write_batch, work_queue, queues)),
        (queues, "STANDSTILL"),
        (relay, "FIRST_INTERVAL"),
    ):
        assert name in vars(module)
        vars(module)[name] = PATIENCE
