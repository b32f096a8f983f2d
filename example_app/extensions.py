"""The extensions, each made once and given to every app that the factory makes."""

from __future__ import annotations

from flask_login import LoginManager
from flask_migrate import Migrate
from flask_wtf import CSRFProtect

from flask_squidmesh import SquidMesh

from .access import colleagues, links, mask_mail, may, who, whose
from .clock import clock
from .models import User, db

migrate = Migrate()
csrf = CSRFProtect()
mesh = SquidMesh(authorize=may, actor=who, scope=whose, redact=mask_mail, links=links, people=colleagues, clock=clock)

login = LoginManager()
login.login_view = "shop.login"
login.login_message = "Please log in first."


def load_user(user_id: str) -> User | None:
    """The user whose number the session holds."""
    return db.session.get(User, int(user_id)) if user_id.isdecimal() else None


login.user_loader(load_user)
