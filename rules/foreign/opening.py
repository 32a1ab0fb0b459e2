"""Opening foreign rules, whichever tool they came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.foreign.errors import ForeignError
from inkgate.rules.foreign.files import files_in
from inkgate.rules.foreign.paper import SUFFIX, read_paper_rules
from inkgate.rules.foreign.rule import ForeignRules
from inkgate.rules.foreign.thesis import METADATA, read_thesis_folder


def open_foreign(where: Path, token: Callable[[], bytes], caps: Caps) -> ForeignRules:
    """Read a rule folder or a rule file.

    Args:
        token: asked for only if the format binds its rules to a token.

    Raises:
        ForeignError: nothing known lies there, or it cannot be read.
        KeyFileError: there is no token.
    """
    if where.is_dir():
        names = files_in(where)
        if METADATA in names:
            return read_thesis_folder(where, token(), caps)
        if not any(name.endswith(SUFFIX) for name in names):
            raise ForeignError(
                where,
                None,
                f"holds neither {METADATA} (thesis) nor *{SUFFIX} (paper)",
                "name the folder that does",
            )
    return read_paper_rules(where, caps)
