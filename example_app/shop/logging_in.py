"""Logging in and out."""

from __future__ import annotations

import secrets

from flask import current_app, flash, redirect, render_template, request, session, url_for
from flask_login import login_user, logout_user
from sqlalchemy import select
from werkzeug.security import check_password_hash, generate_password_hash
from werkzeug.wrappers import Response

from ..models import User, db
from ..people import PEOPLE
from . import blueprint

NOBODYS_HASH = generate_password_hash(secrets.token_hex())
"""Compared where nobody has the address, so that the time to the answer does not tell which addresses are known."""


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> str | Response | tuple[str, int]:
    """Ask for address and password, and let in whoever knows them."""
    if request.method == "GET":
        return _form()
    user = db.session.scalar(select(User).where(User.email == request.form["email"].strip().lower()))
    known = user.password_hash if user is not None else NOBODYS_HASH
    if not check_password_hash(known, request.form["password"]) or user is None:
        flash("Address or password is wrong.")
        return _form(), 422
    session.clear()
    login_user(user)
    return redirect(_destination(), 303)


@blueprint.post("/logout")
def logout() -> Response:
    """Forget who it was."""
    logout_user()
    session.clear()
    return redirect(url_for(".show_products"), 303)


def _form() -> str:
    people = PEOPLE if current_app.config["SHOP_SHOW_LOGINS"] else ()
    return render_template("shop/login.html", people=people, email=request.form.get("email", ""))


def _destination() -> str:
    """Where the person wanted to go, if that is a page of this shop; else the shelves."""
    wanted = request.args.get("next", "")
    return wanted if is_own_path(wanted) else url_for(".show_products")


def is_own_path(target: str) -> bool:
    """Whether a redirect to the target stays on this site.

    Browsers take a backslash for a slash and leave out tabs and line breaks, so that `/<tab>/evil.example` leads away.
    """
    path = target.partition("?")[0].partition("#")[0]
    return target.startswith("/") and not target.startswith("//") and target.isprintable() and "\\" not in path
