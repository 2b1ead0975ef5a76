"""Texts of someone else that can be printed, drawn and written to a file."""

from __future__ import annotations

import re

# A length that a picture has room for. `\x00-\x1f\x7f-\x9f` are Unicode's controls (Cc), `\ud800-\udfff` its
# surrogates (Cs), which no encoding writes.
_PLAIN = re.compile(r'[^\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]{0,1000}')


def plain_text(text: str) -> bool:
    """Whether a text has at most 1,000 characters, no control but newline and tab, and no lone surrogate."""
    return _PLAIN.fullmatch(text) is not None
