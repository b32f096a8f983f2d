"""Notices by the many services that Apprise knows: chats, pagers, text messages."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from ..app_settings import Text, text_of
from ..errors import ChannelError, ConfigurationError
from ..notices import Notice
from . import notice_text


class Apprise:
    """Sends notices to services by their Apprise addresses, such as `slack://...`; needs `flask-squidmesh[apprise]`.

    urls: each text, a Setting, or a function that answers it. Where `to` has answered a receiver, that is the address
    and `urls` may be left out. Raises ConfigurationError.
    """

    def __init__(self, *urls: Text) -> None:
        if find_spec("apprise") is None:
            raise ConfigurationError("Apprise is not installed. Run: pip install 'flask-squidmesh[apprise]'")
        self._urls = urls

    def send(self, receiver: str, notices: Sequence[Notice]) -> None:
        """Send one message with the notices to each of the services."""
        from apprise import Apprise as Services

        services = Services()
        for url in (receiver,) if receiver else self._urls:
            if not services.add(text_of(url, "An address for Apprise")):
                raise ChannelError("One of the addresses is none that Apprise knows.")
        if not services:
            raise ChannelError("There is no address to send it to.")
        if not services.notify(title=notice_text.headline(notices), body=notice_text.text(notices)):
            raise ChannelError("One of the services has not taken it.")
