"""Whose a run is: ids of tenants as they are kept and compared."""

from __future__ import annotations

import unicodedata
from typing import Final

from .values import kind

NO_TENANT: Final = ""
LONGEST: Final = 200
_UNFIT: Final = ("Cc", "Cs", "Zl", "Zp")


def tenant_id(given: object) -> str:
    """The id without blanks around it and in Unicode's composed form (NFC), so that equal ids are the same text.

    given: text of at most 200 characters without control characters; '' means no tenant. Raises ValueError saying what
    was found and what is expected.
    """
    if not isinstance(given, str):
        raise ValueError(f"tenant must be text such as 'acme', or '' for none, not {kind(given)}.")
    id = unicodedata.normalize("NFC", given.strip())
    if given and not id:
        raise ValueError("tenant is blank. Pass the id of a tenant, or '' for none.")
    if len(id) > LONGEST:
        raise ValueError(f"tenant has {len(id):,} characters. Pass an id of at most {LONGEST}.")
    if any(unicodedata.category(character) in _UNFIT for character in id):
        raise ValueError(f"tenant {id!r} has a control character in it. Pass an id of letters, digits and signs.")
    return id
