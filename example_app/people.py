"""Who can log in to the demo."""

from __future__ import annotations

from dataclasses import dataclass

PASSWORD = "demo"


@dataclass(frozen=True, slots=True)
class Person:
    """One log-in. can: what the role is for, in a few words."""

    email: str
    name: str
    role: str
    can: str


BUYER = Person("ben@shop.test", "Ben", "buyer", "buys, and follows his own orders")
OPERATOR = Person("olivia@shop.test", "Olivia", "operator", "sees every run; resumes, cancels, replays and mends")
FINANCE = Person("fiona@shop.test", "Fiona", "finance", "sees every run; approves and rejects payments")
PEOPLE = (BUYER, OPERATOR, FINANCE)
