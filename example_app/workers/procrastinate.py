"""Procrastinate's worker: `python -m procrastinate --app=example_app.workers.procrastinate.queue worker`."""

from __future__ import annotations

from flask_squidmesh.integrations.procrastinate import procrastinate_app

from .. import create_app

queue = procrastinate_app(create_app())
