"""Writing an order, or an expense, and starting its run: both in one transaction, or neither."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import select

from flask_squidmesh import Workflow

from .extensions import mesh
from .models import Expense, Order, Product, User, db
from .workflows import Checkout, Reimbursement


def write_order(buyer: User, product: Product, *, form_key: str, quantity: int = 1) -> Order:
    """Write the order, in the session's transaction.

    :param form_key: Names the order before it has a number; the same key twice is refused by the database.
    """
    order = Order(form_key=form_key, buyer_id=buyer.id, product_id=product.id, quantity=quantity)
    order.total_cents = product.price_cents * quantity
    db.session.add(order)
    db.session.flush()
    return order


def place_order(
    buyer: User, product: Product, *, form_key: str, quantity: int = 1, workflow: type[Workflow] = Checkout
) -> Order:
    """Write the order, start its run and commit.

    :param form_key: As in `write_order`.
    :param workflow: What is started; it takes a basket.
    """
    order = write_order(buyer, product, form_key=form_key, quantity=quantity)
    basket = {"order_id": order.number, "sku": product.sku, "quantity": quantity, "email": buyer.email}
    run = mesh.start_run(workflow, basket, idempotency_key=order.number, actor=buyer.email, session=db.session)
    order.run_id = run.id
    db.session.commit()
    return order


def submit_expense(employee: User, purpose: str, amount: Decimal, *, form_key: str) -> Expense:
    """Write the expense, start its run and commit.

    :param form_key: As in `write_order`.
    :raises PayloadError: The purpose or the amount is none; nothing was written.
    :raises LookupError: The employee has nobody who signs.
    """
    manager = _manager_of(employee)
    if manager is None:
        raise LookupError(f"{employee.name} has nobody who signs expenses.")
    cents = int(amount.scaleb(2))
    expense = Expense(form_key=form_key, employee_id=employee.id, purpose=purpose, amount_cents=cents)
    db.session.add(expense)
    db.session.flush()
    claim = {
        "expense_id": expense.number,
        "employee": employee.email,
        "manager": manager.email,
        "head": (_manager_of(manager) or manager).email,
        "purpose": purpose,
        "amount": amount,
    }
    run = mesh.start_run(
        Reimbursement, claim, idempotency_key=expense.number, actor=employee.acting, session=db.session
    )
    expense.run_id = run.id
    db.session.commit()
    return expense


def _manager_of(user: User) -> User | None:
    return db.session.scalar(select(User).where(User.email == user.manager_email))
