"""Whom to ask, as HTML: addresses in the text become links."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from markupsafe import Markup, escape

# No other scheme becomes a link, so that none can run as a script.
_LINKED: Final = re.compile(
    r"(?P<url>https?://[^\s<>\"'`]+)"
    r"|(?:mailto:)?(?P<mail>[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)+)",
    re.IGNORECASE,
)
_ENDS_A_SENTENCE: Final = ".,;:!?)"


def contact_links(text: str, incident: str) -> Markup:
    """A text of the operator's with its e-mail and web addresses as links.

    Args:
        text: any text; it is escaped.
        incident: goes into the subject of a mail; letters, digits and hyphens, or a code
            that Squid replaces by such.
    """
    pieces: list[Markup] = []
    end = 0
    for found in _LINKED.finditer(text):
        matched, mail = found[0], found["mail"]
        if mail:
            target = f"mailto:{quote(mail, '@')}?subject={incident}"
        else:
            matched = target = matched.rstrip(_ENDS_A_SENTENCE)
        link = Markup('<a href="{}">{}</a>').format(target, mail or matched)
        pieces += [escape(text[end : found.start()]), link]
        end = found.start() + len(matched)
    return Markup("").join([*pieces, escape(text[end:])])
