"""An adapter for HTTP. Needs httpx: install `flask-squidmesh[http]`."""

try:
    import httpx  # noqa: F401
except ImportError as missing:
    raise ImportError(
        "flask_squidmesh.tools.http needs httpx, which is not installed. Run: pip install 'flask-squidmesh[http]'"
    ) from missing

from .http_adapter import HttpAdapter

__all__ = ["HttpAdapter"]
