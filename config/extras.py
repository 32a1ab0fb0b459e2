"""Libraries that only some roles need: the extras of the package, and what is said without one.

A proxy is installed without the publisher's libraries. A command whose libraries are
missing says so in one line before it does anything, and names what installs them.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Final, Literal

from inkgate.config.errors import InkgateError

Extra = Literal["icap", "drain", "publisher", "stix", "report", "match", "aggregation", "audit"]

# Names for `import`, not of distributions; pyproject.toml has those, and
# tests/packaging/test_extras.py holds the two together.
MODULES: Final[dict[Extra, tuple[str, ...]]] = {
    "icap": ("brotli", "pyicap", "zstandard"),
    "drain": ("redis", "tenacity"),
    "publisher": (
        "pymisp",
        "pymispwarninglists",
        "pymysql",
        "requests",
        "rich",
        "tenacity",
        "urllib3",
        "zstandard",
    ),
    "stix": ("antlr4", "misp_stix_converter", "stix2patterns"),
    "report": ("pymisp", "redis", "requests", "rich", "tenacity"),
    "match": ("bcrypt", "redis", "rich", "zstandard"),
    "aggregation": ("coincurve", "numpy", "Crypto", "pymisp", "redis", "requests", "tenacity"),
    "audit": ("matplotlib", "rich"),
}


class MissingExtraError(InkgateError):
    """A library is missing that an extra of the package installs.

    Args:
        extra: the extra.
        module: the library's import name.
        purpose: what needs it: a command, an option, a kind of file.
    """

    def __init__(self, extra: Extra, module: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {module}, which is not installed; {remedy(extra)}")
        self.extra: Extra = extra


def remedy(extra: Extra) -> str:
    """What to do when an extra's library is missing."""
    return f"install locks/{extra}.txt as README.md says, or pip install 'inkgate[{extra}]'"


def require(extra: Extra, purpose: str) -> None:
    """Check that all libraries of an extra are there, without importing them.

    Raises:
        MissingExtraError: one of them is not.
    """
    for module in MODULES[extra]:
        if not is_installed(module):
            raise MissingExtraError(extra, module, purpose)


def need(extra: Extra, module: str, purpose: str) -> Any:
    """Import one library of an extra.

    Args:
        extra: the extra that installs it.
        module: its name, also one below it (`coincurve.context`).
        purpose: what needs it.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(extra, module.partition(".")[0], purpose) from None


def is_installed(module: str) -> bool:
    """Whether a top-level module could be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:
        # It is in sys.modules without a specification, or as None.
        return False
