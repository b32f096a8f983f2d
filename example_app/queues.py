"""The shop's own job system, where its executor is not built in."""

from __future__ import annotations

from flask import Flask


def add_queue(app: Flask) -> None:
    """Give the app its Celery app, as Flask's own pattern has it. The other ready-made executors need nothing."""
    if app.config["SQUIDMESH_EXECUTOR"] == "celery":
        from celery import Celery

        app.extensions["celery"] = Celery("shop", broker=app.config["CELERY_BROKER_URL"], set_as_current=False)
