"""CSV whose columns have names that tell what is in them: abuse.ch, ThreatFox, OTX, own ones.

The first row names the columns; abuse.ch writes it as the last remark. Every column that has
a known name is read, so one row may give several values.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Final

from inkgate.rules.canonical.misp_types import is_misp_type
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.csv_lines import NO_CSV, CsvLines, check_whole, rows
from inkgate.rules.sources.readers.file_format import FileFormat
from inkgate.rules.sources.readers.lists.dialect import REMARK, Line, refused
from inkgate.rules.sources.readers.lists.guess import guess_type, written
from inkgate.rules.sources.readers.source_file import SourceFile

_COLUMNS: Final = (
    "name the columns in the first row: domain, hostname, url, ip, md5, sha1, sha256, or type "
    "and value"
)
HASH: Final = (
    "a remark, or a row whose first cell begins with #: set white space behind it, or quotes around"
)
_HEAD_LINES: Final = 200
# Names of columns, in lower case without white space, `_` and `-`, and MISP's types.
_TYPES: Final = {
    "url": "url",
    "maliciousurl": "url",
    "domain": "domain",
    "domainname": "domain",
    "fqdn": "hostname",
    "hostname": "hostname",
    "host": "",
    "ip": "ip-dst",
    "ipaddress": "ip-dst",
    "dstip": "ip-dst",
    "destinationip": "ip-dst",
    "cidr": "ip-dst",
    "network": "ip-dst",
    "md5": "md5",
    "md5hash": "md5",
    "sha1": "sha1",
    "sha1hash": "sha1",
    "sha256": "sha256",
    "sha256hash": "sha256",
    "sha384hash": "sha384",
    "sha512": "sha512",
    "sha512hash": "sha512",
}
# Columns whose values are told by another column.
_VALUES: Final = ("iocvalue", "indicator", "ioc", "value")
_KINDS: Final = ("ioctype", "indicatortype", "type")
# What ThreatFox, OTX and others call MISP's types.
_KIND_TYPES: Final = {
    "ip:port": "ip-dst|port",
    "ipv4": "ip-dst",
    "ipv6": "ip-dst",
    "cidr": "ip-dst",
    "domain": "domain",
    "hostname": "hostname",
    "url": "url",
    "uri": "url",
    "md5_hash": "md5",
    "sha1_hash": "sha1",
    "sha256_hash": "sha256",
    "filehash-md5": "md5",
    "filehash-sha1": "sha1",
    "filehash-sha256": "sha256",
    "email": "email",
    "file": "filename",
    "file_name": "filename",
}
# SSLBL lists digests of certificates under the name of the algorithm alone.
_OF_CERTIFICATES: Final = ("listingdate", "sha1", "listingreason")


def read_column_csv(file: SourceFile) -> Iterator[Attribute]:
    """The values of all columns that have a known name.

    The whole file is looked through before the first is given, so a file that was cut off
    gives none.

    Raises:
        Unreadable: whatever is wrong with the file, with the line.
    """
    header, separator = _header(file.beginning)
    if not header:
        raise file.unreadable(
            "has no column whose name is known" if file.beginning.strip() else "is empty", _COLUMNS
        )
    check_whole(file, _rows(file, separator))
    for number, row, is_remark in _rows(file, separator):
        if row is None:
            line = refused(NO_CSV)
        else:
            line = _remark(header, row) if is_remark else _line(header, row)
        yield from _attributes(line, file.name, number)


def _rows(file: SourceFile, separator: str) -> Iterator[tuple[int, list[str] | None, bool]]:
    """The rows with the number of their last line, and whether each is a remark."""
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    for row in rows(lines, reader, file):
        yield reader.line_num, row, lines.is_remark


class _Lines(CsvLines):
    """The lines of a CSV file with remarks.

    Attributes:
        is_remark: whether the row that was read last is one. A quoted cell that begins with the
            sign makes none: the reader gives it without its quotes.
    """

    def __init__(self, file: SourceFile) -> None:
        super().__init__(file)
        self._begins_row = True
        self.is_remark = False

    def begin_row(self) -> None:
        """See `CsvLines`."""
        super().begin_row()
        self._begins_row = True

    def __next__(self) -> str:
        line = super().__next__()
        if self._begins_row:
            self.is_remark = line.lstrip().startswith("#")
            self._begins_row = False
        # A quote in a remark would take in the rows behind it.
        return line.replace('"', "") if self.is_remark else line


def _remark(header: Sequence[str], row: Sequence[str]) -> Line:
    """A row that begins with `#`: a remark, but `#name,value` may be a row as well."""
    is_apart = not row[0].strip("#") or row[0].lstrip("#")[0].isspace()
    names = [_plain(name).lstrip("#") for name in row]
    if is_apart or len(row) != len(header) or names == list(header):
        return REMARK
    values = _values(list(zip(header, row, strict=True)))
    return refused(HASH) if any(guess_type(value) for _, value in values) else REMARK


def _line(header: Sequence[str], row: Sequence[str]) -> Line:
    names = [_plain(name) for name in row]
    if not any(names) or names == list(header):
        return REMARK
    if len(row) != len(header):
        return refused("not as many columns as the header names")
    values = tuple(_values(list(zip(header, row, strict=True))))
    return Line(values) if values else refused("a row without a value that is known")


def _values(row: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    cells = dict(row)
    port = next((cells[n] for n in ("dstport", "destinationport", "port") if cells.get(n)), "")
    for name, cell in row:
        if not cell.strip():
            continue
        if name in _VALUES:
            kind = _kind(cells)
            if kind is not None:
                yield kind or guess_type(cell), written(kind or guess_type(cell), cell)
        elif name == "sha1" and set(_OF_CERTIFICATES) <= cells.keys():
            yield "x509-fingerprint-sha1", cell
        elif _TYPES.get(name) == "ip-dst" and port.isascii() and port.isdigit() and "dst" in name:
            yield "ip-dst|port", f"{cell}|{port}"
        elif name in _TYPES:
            kind = _TYPES[name] or guess_type(cell)
            yield kind, written(kind, cell)


def _kind(cells: dict[str, str]) -> str | None:
    """The type that another column tells; empty if none does."""
    told = next((cells[name].strip() for name in _KINDS if name in cells), "")
    if not told:
        return ""
    return _KIND_TYPES.get(told.lower(), told if is_misp_type(told) else "")


def _attributes(line: Line, name: str, number: int) -> Iterator[Attribute]:
    place = f"{name}:{number}"
    for count, (misp_type, value) in enumerate(line.values or (("", ""),)):
        yield Attribute(
            type=misp_type, value=value, uuid="", to_ids=True, source=name, place=place,
            refused=line.refused, skipped=line.skipped, is_more=count > 0,
        )  # fmt: skip


def _header(text: str) -> tuple[tuple[str, ...], str]:
    """Names of the columns, and what separates them: of the first row, or the last remark."""
    lines = [line for line in text.splitlines()[:_HEAD_LINES] if line.strip("# \t")]
    for number, line in enumerate(lines):
        for separator in (",", ";", "\t"):
            cells = line.lstrip("# ").split(separator)
            if _is_header(cells) and _has_rows(line, cells, lines[number + 1 :], separator):
                return tuple(map(_plain, cells)), separator
        if not line.startswith("#"):
            break
    return (), ","


def _has_rows(line: str, cells: Sequence[str], after: Sequence[str], separator: str) -> bool:
    """Whether what follows can be rows under these names: a remark may be prose."""
    row = next((other for other in after if not other.startswith("#")), None)
    if row is None:
        return not line.startswith("#")
    first = row.split(separator)
    # `type<TAB>value` in every line is a list, and none has a header.
    return len(first) >= len(cells) and not is_misp_type(first[0].strip())


def _is_header(cells: Sequence[str]) -> bool:
    """Whether cells are names of columns, of which one is known, and none is an indicator."""
    names = [_plain(cell) for cell in cells]
    words = [word for cell in cells for word in (_bare(cell), *_bare(cell).split())]
    if len(names) < 2 or not all(names) or any(map(guess_type, words)):
        return False
    return any(name in _TYPES for name in names) or (
        any(name in _VALUES for name in names) and any(name in _KINDS for name in names)
    )


def _bare(cell: str) -> str:
    return cell.strip().strip('"').strip()


def _plain(name: str) -> str:
    return name.strip().strip('"').strip().lower().translate({ord(c): None for c in " _-"})


def _is_column_csv(file: SourceFile) -> bool:
    text = file.beginning
    if _header(text)[0]:
        return True
    first = next((line for line in text.splitlines() if line.strip("# \t")), ",")
    return file.suffix in (".csv", ".tsv") and any(sign in first for sign in ",;\t")


FORMAT: Final = FileFormat(
    "CSV with named columns", (".csv", ".tsv"), _is_column_csv, read_column_csv
)
