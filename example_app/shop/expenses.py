"""Submitting expenses, following them, and correcting what was asked back."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from uuid import uuid4

from flask import abort, flash, redirect, render_template, request, url_for
from flask_login import current_user
from sqlalchemy import ColumnElement, select, true
from werkzeug.wrappers import Response

from flask_squidmesh import ConflictError, PayloadError, TransitionError

from ..access import SEEING_ALL
from ..extensions import mesh
from ..models import Expense, db
from ..placing import submit_expense
from . import blueprint
from .progress import expense_progress


@blueprint.get("/expenses")
def show_expenses() -> str:
    """One's own expenses, for those who look after all of them everybody's; and the form that submits one."""
    _for_staff()
    mine: ColumnElement[bool] = true() if _sees_all() else Expense.employee_id == current_user.id
    expenses = db.session.scalars(select(Expense).where(mine).order_by(Expense.id.desc()).limit(50)).all()
    listed = [(expense, expense_progress(expense, current_user)) for expense in expenses]
    return render_template("shop/expenses.html", expenses=listed, everybodys=_sees_all(), form_key=uuid4().hex)


@blueprint.post("/expenses")
def submit() -> Response:
    """Submit an expense and start its run: both or neither. A form that is sent twice submits once."""
    _for_staff()
    form_key = request.form["form_key"]
    mine = Expense.form_key == form_key, Expense.employee_id == current_user.id
    expense = db.session.scalar(select(Expense).where(*mine))
    try:
        expense = expense or submit_expense(current_user, request.form["purpose"], _amount(), form_key=form_key)
    except (PayloadError, LookupError) as refused:
        db.session.rollback()
        flash(str(refused))
        return redirect(url_for(".show_expenses"), 303)
    return redirect(url_for(".show_expense", number=expense.number), 303)


@blueprint.get("/expenses/<number>")
def show_expense(number: str) -> str:
    """One expense: its state, whose turn it is, and the form that corrects it while it is asked back."""
    expense = _visible(number)
    run = mesh.inspect_run(expense.run_id) if expense.run_id else None
    return render_template(
        "shop/expense.html",
        expense=expense,
        progress=expense_progress(expense, current_user),
        token=run.decision if run else None,
    )


@blueprint.post("/expenses/<number>/correct")
def correct(number: str) -> Response:
    """Answer what was asked back: with a correction, or by withdrawing the expense. The run goes on with it."""
    expense = _visible(number)
    if expense.employee_id != current_user.id:
        abort(403, "Only who submitted an expense corrects it.")
    option = request.form["option"]
    answer = {"purpose": request.form["purpose"], "amount": _amount()} if option == "resubmit" else None
    try:
        mesh.decide_run(
            expense.run_id or "",
            option,
            answer,
            step="correct",
            actor=current_user.acting,
            expected=request.form["token"],
        )
    except (PayloadError, ConflictError, TransitionError) as refused:
        flash(str(refused))
    return redirect(url_for(".show_expense", number=number), 303)


def _amount() -> Decimal:
    try:
        return Decimal(request.form["amount"])
    except InvalidOperation:
        abort(400, f"{request.form['amount']!r} is no amount.")


def _for_staff() -> None:
    if not current_user.staff:
        abort(403, "Expenses are for people who work here.")


def _sees_all() -> bool:
    return current_user.role in SEEING_ALL


def _visible(number: str) -> Expense:
    _for_staff()
    try:
        expense = Expense.numbered(number)
    except LookupError:
        abort(404)
    if expense.employee_id != current_user.id and current_user.role == "employee":
        abort(404)
    return expense
