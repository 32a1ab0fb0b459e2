"""Arguments of a benchmark: its own, and `--quick`, which all of them have."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


class Arguments(argparse.ArgumentParser):
    """Reads the arguments of one program; `--help` prints what it measures.

    Args:
        doc: the program's docstring.
        quick: values that arguments have with `--quick` unless they are given, by name.
    """

    def __init__(self, doc: str | None, **quick: object) -> None:
        super().__init__(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        self._quick = quick
        self.add_argument(
            "--quick",
            action="store_true",
            help="all of it, once and small: shows that it works, and measures nothing",
        )

    def add_against(self) -> None:
        """Let another version be measured beside this one; without it, this one beside itself."""
        self.add_argument(
            "--against",
            type=Path,
            default=Path(sys.prefix),
            metavar="PATH",
            help="another virtual environment with inkgate [this environment]",
        )

    def read(self, words: Sequence[str] | None = None) -> argparse.Namespace:
        """The arguments, by default those of this process.

        Raises:
            ValueError: `quick` names an argument that there is not.
        """
        words = sys.argv[1:] if words is None else words
        unknown = self._quick.keys() - {action.dest for action in self._actions}
        if unknown:
            raise ValueError(f"no such arguments: {', '.join(sorted(unknown))}")
        if "--quick" in words:
            self.set_defaults(**self._quick)
        return self.parse_args(words)
