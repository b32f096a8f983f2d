"""Celery's worker: `python -m celery --app=example_app.workers.celery worker`."""

from __future__ import annotations

from flask_squidmesh.integrations.celery import celery_app

from .. import create_app

celery = celery_app(create_app())
