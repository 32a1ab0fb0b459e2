"""A worker of inkgate-icap whose blocked page fails: an error of inkgate's own, as `counted.py`."""

from __future__ import annotations

import sys
from typing import NoReturn

from inkgate.icap_server.__main__ import main
from inkgate.icap_server.blocked import Blocked


def fail(*_: object) -> NoReturn:
    raise ZeroDivisionError("http://listed.example/")


if __name__ == "__main__":
    Blocked.page = fail  # type: ignore[method-assign]
    main(sys.argv[3:])
