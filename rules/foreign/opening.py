"""Opening foreign rules, whichever tool they came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.foreign.errors import ForeignError
from inkgate.rules.foreign.files import files_in
from inkgate.rules.foreign.paper import SUFFIX, read_paper_rules
from inkgate.rules.foreign.rule import ForeignRules
from inkgate.rules.foreign.thesis import METADATA, read_thesis_folder


class _FolderFormat(NamedTuple):
    """A folder of rules: what of it is there, and how it is read."""

    tool: str
    sign: str
    is_sign: Callable[[str], bool]
    read: Callable[[Path, Callable[[], bytes], Caps], ForeignRules]


# In the order in which they are tried. A further tool is a further line.
_FOLDERS: Final = (
    _FolderFormat(
        "thesis",
        METADATA,
        lambda name: name == METADATA,
        lambda where, token, caps: read_thesis_folder(where, token(), caps),
    ),
    _FolderFormat(
        "paper",
        f"*{SUFFIX}",
        lambda name: name.endswith(SUFFIX),
        lambda where, _token, caps: read_paper_rules(where, caps),
    ),
)


def open_foreign(where: Path, token: Callable[[], bytes], caps: Caps) -> ForeignRules:
    """Read a rule folder or a rule file.

    Args:
        token: asked for only if the format binds its rules to a token.

    Raises:
        ForeignError: nothing known lies there, or it cannot be read.
        KeyFileError: there is no token.
    """
    if not where.is_dir():
        return read_paper_rules(where, caps)
    names = files_in(where)
    for known in _FOLDERS:
        if any(map(known.is_sign, names)):
            return known.read(where, token, caps)
    signs = " nor ".join(f"{known.sign} ({known.tool})" for known in _FOLDERS)
    raise ForeignError(where, None, f"holds neither {signs}", "name the folder that does")
