"""What is wrong in pyicap 1.0b1 and overridden (docs/decisions/0020): it stays so.

What each override does on the wire is in the tests that the decision names.
"""

from __future__ import annotations

import collections
import re
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any

import pytest
from pyicap import BaseICAPRequestHandler, ICAPServer

from inkgate.icap_server.base_handler import BaseHandler
from inkgate.icap_server.handler import InkgateHandler
from inkgate.icap_server.server import InkgateServer

OVERRIDDEN = [
    "setup",
    "finish",
    "handle",
    "handle_one_request",
    "parse_request",
    "_read_headers",
    "_read_request",
    "_read_status",
    "read_chunk",
    "write_chunk",
    "cont",
    "set_icap_response",
    "send_headers",
    "send_error",
    "send_enc_error",
    "no_adaptation_required",
    "date_time_bytes",
    "log_request",
    "log_message",
    "log_error",
]


def test_it_is_the_version_that_was_read() -> None:
    assert version("pyicap") == "1.0b1"
    assert issubclass(BaseHandler, BaseICAPRequestHandler)
    assert issubclass(InkgateServer, ICAPServer)


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_override_is_ours_and_has_something_to_override(name: str) -> None:
    theirs = getattr(BaseICAPRequestHandler, name)
    assert callable(theirs)
    assert getattr(BaseHandler, name) is not theirs


def test_fault_handle_one_request_dies_since_python_3_10() -> None:
    assert not hasattr(collections, "Callable")


def test_fault_date_time_bytes_fails_and_ours_is_a_date() -> None:
    bare: Any = object.__new__(BaseICAPRequestHandler)
    text = bare.date_time_bytes(0).decode()
    with pytest.raises(ValueError, match=r"invalid|date"):
        parsedate_to_datetime(text)
    ours: Any = object.__new__(InkgateHandler)
    assert ours.date_time_bytes(1) == b"Thu, 01 Jan 1970 00:00:01 GMT"


def test_only_named_endpoints_can_be_called_from_outside() -> None:
    endpoints = {name for service in InkgateHandler.services.values() for name in service.values()}
    assert endpoints == {
        n for n in dir(InkgateHandler) if re.search("_(OPTIONS|REQMOD|RESPMOD)$", n)
    }


def test_version_is_told_to_nobody() -> None:
    bare: Any = object.__new__(InkgateHandler)
    assert bare.version_bytes().strip() == b"inkgate"
