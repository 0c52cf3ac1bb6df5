"""Passwords and tokens in addresses: nothing that a run prints or writes shows them."""

import re
from typing import Any

HIDDEN = "***"

# A password before the host, a token instead of a user, and values of a query whose names say
# that they are secret.
_PASSWORD = re.compile(r"(\w[\w+.-]*://[^\s:/@]*:)[^\s/]+@")
_USER = re.compile(r"(\bhttps?://)[^\s:/@]+@")
_TOKEN = re.compile(
    r"([?&][\w-]*(?:token|key|passw|secret|signature)[\w-]*=)[^&\s]+", re.IGNORECASE
)


def masked(text: str) -> str:
    """Put asterisks for the passwords and tokens of all addresses in a text."""
    return _TOKEN.sub(
        rf"\1{HIDDEN}", _USER.sub(rf"\1{HIDDEN}@", _PASSWORD.sub(rf"\1{HIDDEN}@", text))
    )


def masked_values(values: Any) -> Any:
    """Do the same with all texts in nested dicts and lists."""
    if isinstance(values, dict):
        return {key: masked_values(value) for key, value in values.items()}
    if isinstance(values, list):
        return [masked_values(value) for value in values]
    return masked(values) if isinstance(values, str) else values
