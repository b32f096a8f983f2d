"""Showing: the operators' pages."""

from .access import Dashboard, Deny, Hooks
from .blueprint import create_blueprint
from .redaction import REDACTED

__all__ = ["REDACTED", "Dashboard", "Deny", "Hooks", "create_blueprint"]
