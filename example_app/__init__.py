"""A small shop whose orders are durable workflows: how an existing Flask app takes flask-squidmesh in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask

from flask_squidmesh import SquidMesh

from .commands import COMMANDS
from .extensions import csrf, login, mesh, migrate
from .models import db
from .notices import MAIL, people_asked
from .queues import add_queue
from .settings import settings
from .shop import blueprint
from .workflows import WORKFLOWS

MIGRATIONS = Path(__file__).parent / "migrations"

mesh.register(*WORKFLOWS)
mesh.add_channel(MAIL, on=("decision.opened", "decision.reminded", "decision.escalated"), to=people_asked)


def create_app(config: Mapping[str, Any] | None = None, mesh: SquidMesh = mesh) -> Flask:
    """Make the app.

    :param config: Settings that stand above those from the environment.
    :param mesh: The workflows, and what the dashboard asks; those of this shop where left out.
    """
    app = Flask(__name__, instance_path=os.environ.get("SHOP_INSTANCE"))
    app.config.from_mapping(settings(Path(app.instance_path)))
    app.config.from_mapping(config or {})
    db.init_app(app)
    migrate.init_app(app, db, directory=str(MIGRATIONS))
    csrf.init_app(app)
    login.init_app(app)
    add_queue(app)
    mesh.init_app(app)
    app.register_blueprint(blueprint)
    for command in COMMANDS:
        app.cli.add_command(command)
    return app
