"""The shop's configuration, from the environment."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any


def settings(folder: Path) -> dict[str, Any]:
    """What the app is configured with.

    :param folder: The instance folder, where the SQLite file, the secrets and the mails are kept.
    """
    smtp_port = os.environ.get("SHOP_SMTP_PORT")
    return {
        "SECRET_KEY": os.environ.get("SECRET_KEY") or kept_secret(folder),
        "SQLALCHEMY_DATABASE_URI": database_url(os.environ.get("DATABASE_URL", "sqlite:///shop.sqlite")),
        "SQLALCHEMY_ENGINE_OPTIONS": {"pool_pre_ping": True},
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": os.environ.get("SHOP_HTTPS") == "true",
        "SHOP_SHOW_LOGINS": os.environ.get("SHOP_SHOW_LOGINS") == "true",
        "SHOP_SMTP_PORT": int(smtp_port) if smtp_port else None,
        "SHOP_MAILBOX": folder / "mailbox",
        "GATEWAY_URL": os.environ.get("GATEWAY_URL", "http://127.0.0.1:5050"),
        "GATEWAY_SECRET": os.environ.get("GATEWAY_SECRET") or kept_secret(folder, "gateway_secret"),
        "CELERY_BROKER_URL": os.environ.get("CELERY_BROKER_URL", "redis://127.0.0.1:6379/0"),
        "SHOP_PATIENCE_SECONDS": 60.0,
        "SQUIDMESH_EXECUTOR": os.environ.get("SQUIDMESH_EXECUTOR", "database"),
        "SQUIDMESH_QUEUE": os.environ.get("SQUIDMESH_QUEUE", "squidmesh"),
        "SQUIDMESH_CLAIM_TIMEOUT": float(os.environ.get("SQUIDMESH_CLAIM_TIMEOUT", "10")),
        "SQUIDMESH_EXTERNAL_URL": os.environ.get("SQUIDMESH_EXTERNAL_URL", "http://127.0.0.1:5000"),
        "SQUIDMESH_DASHBOARD_TITLE": "Shop workflows",
        "SQUIDMESH_DASHBOARD_ENVIRONMENT": "DEMO",
        "SQUIDMESH_DASHBOARD_BACK_URL": "/",
    }


def database_url(given: str) -> str:
    """The URL as SQLAlchemy wants it: PostgreSQL through psycopg 3, whichever way it was written."""
    for scheme in ("postgres://", "postgresql://"):
        if given.startswith(scheme):
            return "postgresql+psycopg://" + given.removeprefix(scheme)
    return given


def kept_secret(folder: Path, name: str = "secret_key") -> str:
    """A secret that is made once and kept, so that a restart logs nobody out.

    :param name: That of its file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    made = folder / f"{name}.{os.getpid()}.{secrets.token_hex(4)}"
    if not file.exists():
        made.touch(mode=0o600)
        made.write_text(secrets.token_hex(32))
        with suppress(FileExistsError):  # another process was first, and its key counts
            os.link(made, file)
        made.unlink()
    return file.read_text()
