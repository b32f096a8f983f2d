"""What Procrastinate's worker loads: `--app=tests.chaos.procrastinate_worker.queue`."""

from __future__ import annotations

from flask_squidmesh.integrations.procrastinate import procrastinate_app

from .shop import create_app

queue = procrastinate_app(create_app())
