"""Calling other systems from a step: what every adapter answers, and how its failures are treated."""

from .adapter import Adapter, ToolError, ToolResult, invoke

__all__ = ["Adapter", "ToolError", "ToolResult", "invoke"]
