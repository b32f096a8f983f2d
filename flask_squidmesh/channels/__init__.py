"""Ways to people and to other services, for `mesh.add_channel`."""

from .apprise_channel import Apprise
from .mail import Mail
from .webhook import Webhook

__all__ = ["Apprise", "Mail", "Webhook"]
