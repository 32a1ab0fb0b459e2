"""Makes tests/icap_server/file_names.json: under which names clients save what replies name so.

Run by hand where the clients are installed (apt-get install chromium firefox-esr curl wget aria2),
in the development environment: python tools/measure_file_names.py
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.http_clients import Case, installed, names, version  # noqa: E402

_PARAMETERS = r"""
filename=plain.exe
filename="quoted.exe"
filename="with space.exe"
filename=with space.exe
filename = "spaces around.exe"
FILENAME="upper.exe"
FileName=mixed.exe
filename="semi;colon.exe"
filename=semi;colon.exe
filename='single.exe'
filename='single quoted.exe'
filename="escaped\"quote.exe"
filename="esc\aped.exe"
filename="back\\slash.exe"
filename=esc\aped.exe
filename=""
filename=
filename="open.exe
filename=close.exe"
filename="mid"dle.exe
filename="one""two.exe"
filename="a.exe"; filename="b.exe"
filename=a.exe; filename=b.exe
filename="a.exe", filename="b.exe"
filename="a.exe" filename="b.exe"
filename="a.exe";filename*=UTF-8''b.exe
filename*=UTF-8''b.exe;filename="a.exe"
filename*=UTF-8''star.exe
filename*=utf-8''star.exe
filename*=UTF-8'en'star.exe
filename*="UTF-8''quoted star.exe"
filename*=UTF-8''per%20cent.exe
filename*=UTF-8''%E2%82%AC%20euro.exe
filename*=ISO-8859-1''%A3%20pound.exe
filename*=iso-8859-15''%A4%20euro.exe
filename*=windows-1252''%80%20euro.exe
filename*=UTF-8''bad%E2.exe
filename*=UTF-8''bad%GG.exe
filename*=UTF-8''bad%.exe
filename*=''nocharset.exe
filename*=UTF-8'noquote.exe
filename*=nothing.exe
filename*=unknown-8''unknown.exe
filename*=KOI8-R''%C6%C1%CA%CC.exe
filename*=GBK''%CE%C4%BC%FE.exe
filename*=Shift_JIS''%83t%83%40.exe
filename*=UTF-16''%FE%FF%00a%00.%00e
filename*=UTF-8''with space.exe
filename*=UTF-8''semi%3Bcolon.exe
filename* = UTF-8''spaces.exe
filename *=UTF-8''space.exe
filename*=UTF-8''a.exe; filename*=UTF-8''b.exe
filename*0=con; filename*1=tinued.exe
filename*0="con"; filename*1="tinued.exe"
filename*1="tinued.exe"; filename*0="con"
filename*0*=UTF-8''con%20; filename*1*=tinued.exe
filename*0*=UTF-8''%E2%82; filename*1*=%AC.exe
filename*0*=UTF-8''con%20; filename*1="mixed%20.exe"
filename*0="mixed%20"; filename*1*=con%20.exe
filename*0=a; filename*2=b.exe
filename*1=only.exe
filename*00=zero; filename*01=padded.exe
filename*0=con; filename*1=tinued.exe; filename=plain.exe
filename=plain.exe; filename*0=con; filename*1=tinued.exe
filename*0=con; filename*1=tinued.exe; filename*=UTF-8''star.exe
filename*0*=UTF-8''one.exe
filename*0=one.exe
filename*0=a; filename*1=b; filename*2=c; filename*3=d; filename*4=e; filename*5=f.exe
filename*0=a;filename*1=b;filename*2=c;filename*3=d;filename*4=e;filename*5=f;filename*6=g;filename*7=h;filename*8=i;filename*9=j;filename*10=k.exe
filename="=?UTF-8?Q?en=63oded.exe?="
filename="=?UTF-8?B?ZW5jb2RlZC5leGU=?="
filename==?UTF-8?B?ZW5jb2RlZC5leGU=?=
filename==?UTF-8?Q?en=63oded.exe?=
filename="=?utf-8?q?a_b.exe?="
filename="=?ISO-8859-1?Q?=A3.exe?="
filename="=?UTF-8?B?ZW5j?= =?UTF-8?B?b2RlZC5leGU=?="
filename="=?UTF-8?B?ZW5j?==?UTF-8?B?b2RlZC5leGU=?="
filename="x=?UTF-8?B?ZW5jb2RlZC5leGU=?=y.exe"
filename="=?UTF-8?B?bad!!?="
filename="per%20cent.exe"
filename="per%2fslash.exe"
filename="%E2%82%AC.exe"
filename=%65ncoded.exe
filename="bad%GG.exe"
filename="%A3latin.exe"
filename="dir/in.exe"
filename="/abs/in.exe"
filename="..\..\win.exe"
filename="C:\dir\win.exe"
filename="../up.exe"
filename="..%2Fup.exe"
filename="trailing.exe."
filename="trailing.exe "
filename=" leading.exe"
filename=".hidden.exe"
filename="..two.exe"
filename="trailing.exe..."
filename="dots.exe. . ."
filename="~tilde.exe"
filename="tilde.exe~"
filename="colon:name.exe"
filename="star*name?.exe"
filename="pipe|less<more>.exe"
filename="tab	name.exe"
filename="con.exe"
filename="aux"
filename="CLSID.{20D04FE0-3AEA-1069-A2D8-08002B30309D}"
filename="noextension"
filename="two  spaces.exe"
filename="plus+sign.exe"
filename="amp&sign.exe"
filename="hash#sign.exe"
filename="at@sign.exe"
filename="name.exe/"
filename="€.exe"
filename=€.exe
filename="é combining.exe"
filename="a{U+202E}exe.txt"
filename="zero{U+200B}width.exe"
filename="no break.exe"
filename="full{U+FF0E}stop.exe"
filename="{U+FF46}{U+FF55}{U+FF4C}{U+FF4C}.exe"
filename*=UTF-8''%2E%2E%2Fup.exe
filename*=UTF-8''dir%2Fin.exe
filename*=UTF-8''dir%5Cin.exe
filename*=UTF-8''nul%00byte.exe
filename*=UTF-8''cr%0Alf.exe
filename*=UTF-8''del%7F.exe
filename*=UTF-8''quote%22.exe
filename*=UTF-8''double%2520.exe
filename*=UTF-8''.hidden.exe
filename*=UTF-8''trailing.exe%20
filename*=UTF-8''bidi%E2%80%AE.exe
name=name.exe
name="name.exe"; filename="file.exe"
xfilename=x.exe
x=filename=y.exe
x="filename=inner.exe"
foo="a;filename=inner.exe"; filename=outer.exe
size=7; filename=after.exe; x=y
filename="multi.tar.gz"
filename:colon.exe
filename="a.exe"junk
filename=comma,name.exe
filename=(comment)name.exe
filename=name(1).exe
filename=[bracket].exe
filename=eq=ual.exe
filename="unescaped "inner" quotes.exe"
filename=\"slash.exe\"
filename="C:\\dir\\win.exe"
filename="nul\0.exe"
filename="very %7B odd %7D.exe"
""".strip("\n").split("\n")
_WHOLE = (
    b'attachment; filename="latin \xe9.exe"',
    b"attachment; filename=latin\xe9.exe",
    b'attachment; filename="sjis \x83t\x83@.exe"',
    b"attachment",
    b"attachment;",
    b"inline; filename=inline.exe",
    b"inline",
    b"filename=alone.exe",
    b'filename="alone.exe"',
    b"; filename=empty.exe",
    b";;; filename=semis.exe;;;",
    b"attachment filename=nosemi.exe",
    b"attachment, filename=comma.exe",
    b"form-data; name=field; filename=form.exe",
    b"unknown; filename=unknown.exe",
    b'"attachment"; filename=quotedtype.exe',
    b"attachment; filename",
    b"attachment;filename=tight.exe;x",
    b"attachment; filename*=UTF-8''l\xe9.exe",
    b"attachment;\tfilename=tab.exe",
    b"attachment; filename=\ttabvalue.exe",
    b'attachment; filename="' + b"long" * 60 + b'.exe"',
    b'attachment; filename="' + b"long" * 300 + b'.exe"',
    b"attachment; filename=" + b"long" * 300 + b".exe",
)
_SEVERAL = (
    (b"attachment; filename=first.exe", b"attachment; filename=second.exe"),
    (b"attachment", b"attachment; filename=second.exe"),
    (b"attachment; filename=first.exe", b"attachment; filename*=UTF-8''second.exe"),
    (b"attachment; filename*0=con", b"attachment; filename*1=tinued.exe"),
    (b"", b"attachment; filename=second.exe"),
)
_PATHS = (
    "plain.exe",
    "per%20cent.exe",
    "slash%2Finside.exe",
    "%E2%82%AC.exe",
    "%A3latin.exe",
    "bad%GG.exe",
    "trailing.exe.",
    "trailing.exe%20",
    "query.exe?x=y",
    "query.exe?filename=asked.exe",
    "download?file=asked.exe",
    "folder.exe/",
    "semi.exe;x=y",
    "semi;name=x.exe",
    "back%5Cslash.exe",
    "colon:name.exe",
    "star*name.exe",
    "plus+name.exe",
    ".hidden.exe",
    "tilde~.exe",
    "a%00b.exe",
    "a%0Ab.exe",
    "double%2520.exe",
    "quote%22.exe",
    "pipe%7Cname.exe",
    "%2e%2e%2fup.exe",
    "q.php?a=b/c.exe",
    "name.exe#fragment",
    "%66ile.exe",
    "amp&name.exe",
    "with%3Fmark.exe",
    "hash%23.exe",
    "%",
)
TARGET = ROOT / "tests/icap_server/file_names.json"


def _with_characters(text: str) -> str:
    """Put in what deceives the eye, which is written by its number above."""
    return re.sub(r"\{U\+([0-9A-F]{4})\}", lambda found: chr(int(found[1], 16)), text)


def cases() -> list[Case]:
    """All replies to try, with a body of its own each."""
    dispositions: list[tuple[bytes, ...]] = [
        (f"attachment; {_with_characters(text)}".encode(),) for text in _PARAMETERS
    ]
    dispositions += [(whole,) for whole in _WHOLE]
    dispositions += _SEVERAL
    found = [
        ([b"Content-Disposition: " + one for one in each], "file.php") for each in dispositions
    ]
    found += [([], path) for path in _PATHS]
    found += [([b"Content-Disposition: attachment"], path) for path in _PATHS]
    return [
        Case(tuple(fields), b"case %d\n" % number, path)
        for number, (fields, path) in enumerate(found)
    ]


def main() -> None:
    """Measure and write."""
    tried = cases()
    saved = {}
    for client in installed():
        with tempfile.TemporaryDirectory() as folder:
            saved[client] = names(client, tried, Path(folder))
    data = {
        "versions": {client: version(client) for client in saved},
        "cases": [
            {
                "fields": [field.decode("latin-1") for field in case.fields],
                "path": case.path,
                "names": {client: found[number] for client, found in saved.items()},
            }
            for number, case in enumerate(tried)
        ],
    }
    TARGET.write_text(json.dumps(data, indent=1, ensure_ascii=True, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
