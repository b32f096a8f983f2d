"""Logging in and out."""

from __future__ import annotations

from flask import current_app, flash, redirect, render_template, request, url_for
from flask_login import login_user, logout_user
from sqlalchemy import select
from werkzeug.security import check_password_hash
from werkzeug.wrappers import Response

from ..models import User, db
from ..people import PEOPLE
from . import blueprint


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> str | Response | tuple[str, int]:
    """Ask for address and password, and let in whoever knows them."""
    if request.method == "GET":
        return _form()
    user = db.session.scalar(select(User).where(User.email == request.form["email"].strip().lower()))
    if user is None or not check_password_hash(user.password_hash, request.form["password"]):
        flash("Address or password is wrong.")
        return _form(), 422
    login_user(user)
    return redirect(_destination(), 303)


@blueprint.post("/logout")
def logout() -> Response:
    """Forget who it was."""
    logout_user()
    return redirect(url_for(".show_products"), 303)


def _form() -> str:
    people = PEOPLE if current_app.config["SHOP_SHOW_LOGINS"] else ()
    return render_template("shop/login.html", people=people, email=request.form.get("email", ""))


def _destination() -> str:
    """Where the person wanted to go: a page of this shop and none elsewhere."""
    wanted = request.args.get("next", "")
    return wanted if wanted.startswith("/") and wanted[1:2] not in ("/", "\\") else url_for(".show_products")
