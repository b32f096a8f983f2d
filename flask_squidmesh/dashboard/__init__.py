"""Showing: the operators' pages."""

from .authorization import Dashboard
from .blueprint import create_blueprint
from .host_hooks import REDACTED, Deny, Hooks

__all__ = ["REDACTED", "Dashboard", "Deny", "Hooks", "create_blueprint"]
