"""Notices by the many services that Apprise knows: chats, pagers, text messages."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from ..app_settings import Text, text_of
from ..errors import ChannelError, ConfigurationError
from ..notices import Notice
from . import notice_text
from .notice_text import Language, checked_language, language_for


class Apprise:
    """Sends notices to services by their Apprise addresses, such as `slack://...`; needs `flask-squidmesh[apprise]`.

    urls: each text, a Setting, or a function that answers it. Where `to` has answered a receiver, that is the address
    and `urls` may be left out. language: of ours, or a function of the receiver that answers it; if left out that of
    the app. Raises ConfigurationError.
    """

    def __init__(self, *urls: Text, language: Language = None) -> None:
        if find_spec("apprise") is None:
            raise ConfigurationError("Apprise is not installed. Run: pip install 'flask-squidmesh[apprise]'")
        checked_language(language, "Apprise")
        self._urls, self._language = urls, language

    def send(self, receiver: str, notices: Sequence[Notice]) -> None:
        """Send one message with the notices to each of the services."""
        from apprise import Apprise as Services

        services = Services()
        for url in (receiver,) if receiver else self._urls:
            if not services.add(text_of(url, "An address for Apprise")):
                raise ChannelError("One of the addresses is none that Apprise knows.")
        if not services:
            raise ChannelError("There is no address to send it to.")
        language = language_for(receiver, self._language)
        title, body = notice_text.headline(notices, language), notice_text.text(notices, language)
        if not services.notify(title=title, body=body):
            raise ChannelError("One of the services has not taken it.")
