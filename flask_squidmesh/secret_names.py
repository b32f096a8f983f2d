"""Names under which secrets stand, in one list for pages, prompts, logs and the HTTP tool."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from unicodedata import normalize

SECRET_KEYS: Final = (
    r"pass_?(word|wort|wd|phrase|code)|kennwort|(^|_)(pass|pwd|pw)$",
    r"secrets?(_|$)|secret_?key|credential|geheimnis",
    r"tokens?(_|$)|(^|_)(bearer|jwt|jws|jwe|csrf|xsrf)(_|$)",
    r"^((x|http|proxy|request)_)*authori[sz]ation(_?(header|code))?$|authori[sz]ation_?header|(^|_)auth$",
    r"(api|app|access|private|signing|encryption|master|subscription|shared|auth|ssh|hmac|aes|licen[sc]e)_?keys?(_|$)",
    r"cookies?(_|$)|sess(ion)?_?(id|key)(_|$)",
    r"(^|_)(otp|totp|hotp)(_|$)|(one_?time|verification|security|recovery|backup|reset|access|login|mfa)_?codes?(_|$)",
    r"(seed|recovery)_?phrase|mnemonic|(^|_)dsn$|connection_?string|(database|db|redis|broker|amqp)_?ur[il]$",
    r"ibans?(_|$)|(account|konto)_?(number|nummer|no|nr)(_|$)",
    r"(card|cc)_?(number|nummer|num|no|nr|pan|pin)(_|$)|(credit|debit)_?card$|^pan$|primary_account_number",
    r"(^|_)(cvc|cvv|cvn)(_?\d)?(_|$)|(^|_)(pins?|tans?)(_?(code|number))?$|pin_?code$",
    r"(^|_)ssn(_|$)|social_?security(_?(number|no))?$|(tax|steuer)_?(id|nummer|number|no)(_|$)|passport_?(number|no|nr)",
)
_BETWEEN_WORDS: Final = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"
)
_NO_LETTER: Final = re.compile(r"[\W_]+")


def patterns(texts: Iterable[str] = SECRET_KEYS) -> tuple[re.Pattern[str], ...]:
    """Regular expressions for names, case aside."""
    return tuple(re.compile(text, re.IGNORECASE) for text in texts)


@lru_cache(maxsize=4096)
def is_secret(name: str, keys: tuple[re.Pattern[str], ...] = patterns()) -> bool:
    """Whether one of the patterns is found in the name, or in its words: "X-Api-Key" and "xApiKey" are "x_api_key"."""
    words = in_words(name)
    return any(key.search(name) or key.search(words) for key in keys)


def in_words(name: str) -> str:
    """The words of a name in small letters with "_" between them, however the name joins them."""
    parted = _BETWEEN_WORDS.sub("_", normalize("NFKC", name))
    return _NO_LETTER.sub("_", parted).strip("_").lower()
