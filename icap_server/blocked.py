"""The answer to a blocked message: a page, or a redirect to one."""

from __future__ import annotations

from datetime import UTC, datetime

from inkgate.blocked_page.page import full_page
from inkgate.blocked_page.settings import SquidSettings
from inkgate.icap_server.protocol.http import HttpRequest

_MAX_ADDRESS = 2000


class Blocked:
    """Makes the blocked page, and the address of the operator's own page.

    Args:
        pages: organisation and contact, as for Squid's own page.
        redirect: a URL with `{incident}` in it, or empty.
    """

    def __init__(self, pages: SquidSettings, redirect: str) -> None:
        self._pages = pages
        self._redirect = redirect

    def redirect(self, request: HttpRequest, incident: str) -> str | None:
        """Where the user is sent; None for the page. A tunnel cannot be sent anywhere."""
        if not self._redirect or request.method == "CONNECT":
            return None
        return self._redirect.replace("{incident}", incident)

    def page(self, request: HttpRequest, incident: str) -> str:
        """The page."""
        # Without the query, which may hold secrets that are not for a screenshot.
        address = request.uri.partition("?")[0][:_MAX_ADDRESS]
        return full_page(
            self._pages.organisation,
            self._pages.contact,
            incident=incident,
            address=address.encode("utf-8", "replace").decode(),
            time=datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
        )
