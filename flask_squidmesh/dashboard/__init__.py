"""Showing: the operators' pages."""

from .access import Dashboard
from .blueprint import create_blueprint
from .hooks import Deny, Hooks
from .redaction import REDACTED

__all__ = ["REDACTED", "Dashboard", "Deny", "Hooks", "create_blueprint"]
