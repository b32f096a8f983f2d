"""Who can log in to the demo."""

from __future__ import annotations

from dataclasses import dataclass

from flask_squidmesh import Person as Actor

PASSWORD = "demo"


@dataclass(frozen=True, slots=True)
class Person:
    """One log-in.

    can: what the role is for, in a few words. manager: the address of who signs the person's expenses.
    """

    email: str
    name: str
    role: str
    can: str
    manager: str | None = None

    @property
    def acting(self) -> Actor:
        """The person as whoever acts, for all calls with `actor=`."""
        return Actor(self.email, self.name, GROUPS.get(self.role, ()))


BUYER = Person("ben@shop.test", "Ben", "buyer", "buys, and follows his own orders")
HEAD = Person("hanna@shop.test", "Hanna", "head", "decides about expenses that stay open, and hands them on")
MANAGER = Person("marco@shop.test", "Marco", "manager", "decides about the expenses of his people", HEAD.email)
EMPLOYEE = Person("emma@shop.test", "Emma", "employee", "submits expenses, and corrects them", MANAGER.email)
OPERATOR = Person(
    "olivia@shop.test", "Olivia", "operator", "sees every run; resumes, cancels, replays and mends", MANAGER.email
)
FINANCE = Person(
    "fiona@shop.test", "Fiona", "finance", "sees every run; approves payments, and large expenses", HEAD.email
)
PEOPLE = (BUYER, OPERATOR, FINANCE, EMPLOYEE, MANAGER, HEAD)
GROUPS = {"manager": ("managers",), "head": ("managers",), "finance": ("finance",)}
"""The groups of each role that has any; decisions are given to groups."""
