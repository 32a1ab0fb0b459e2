"""The answer in place of a message: a page, or a redirect to one."""

from __future__ import annotations

from datetime import UTC, datetime

from inkgate.blocked_page.page import TIME_FORMAT, BlockedPages
from inkgate.blocked_page.wording import Kind
from inkgate.icap_server.protocol.http import HttpRequest

_MAX_ADDRESS = 2000


class Blocked:
    """Makes the pages, and the address of the operator's own page.

    Args:
        pages: the same as Squid's.
        redirect: a URL with `{incident}` in it, or empty.
    """

    def __init__(self, pages: BlockedPages, redirect: str) -> None:
        self._pages = pages
        self._redirect = redirect

    def redirect(self, request: HttpRequest, incident: str) -> str | None:
        """Where the user is sent; None for the page. A tunnel cannot be sent anywhere."""
        if not self._redirect or request.method == "CONNECT":
            return None
        return self._redirect.replace("{incident}", incident)

    def page(self, request: HttpRequest, kind: Kind, incident: str = "") -> str:
        """The page.

        Args:
            request: what was asked for.
            kind: why it is not let through.
            incident: the incident id, where there is one.
        """
        # Without the query, which may hold secrets that are not for a screenshot.
        address = request.uri.partition("?")[0][:_MAX_ADDRESS]
        return self._pages.full(
            kind,
            incident=incident,
            address=address.encode("utf-8", "replace").decode(),
            time=datetime.now(UTC).astimezone().strftime(TIME_FORMAT),
        )
