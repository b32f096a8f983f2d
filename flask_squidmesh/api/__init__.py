"""The JSON API: what the pages show and do, for programs, with the same rights, scope, redaction and audit."""

from .api_mount import create_api

__all__ = ["create_api"]
