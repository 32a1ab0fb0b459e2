"""Every name under which a client saves a file is looked up: clients are run and compared.

Each test needs a client: apt-get install curl wget aria2 chromium firefox-esr.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from inkgate.icap_server.body.file_names import file_names
from support.http_clients import PROGRAMS, Case, installed, names

SEED = int(os.environ.get("INKGATE_FUZZ_SEED", "20"))
CASES = int(os.environ.get("INKGATE_FUZZ_CASES", "60"))
PIECES = (
    *("evil", "a", "B2", ".", ".exe", ".tar.gz", " ", "_", "-", "%20", "%41", "%C3%A9", "é"),
    *("=?UTF-8?Q?a=62c?=", "=?UTF-8?B?YWJj?=", "'", "(1)", "/", "\\", "+", "&", "~"),
)
STARTS = ("filename=", "filename =", "FileName=", "filename*=UTF-8''", "filename*=ISO-8859-1''")
QUOTES = (('"', '"'), ('"', '"'), ("", ""), ('"', ""), ("", '"'), ("'", "'"))


def parameter(draw: random.Random) -> str:
    text = "".join(draw.choices(PIECES, k=draw.randrange(1, 5))) + ".bin"
    start = draw.choice(STARTS)
    before, after = ("", "") if "*" in start else draw.choice(QUOTES)
    return start + before + text + after


def in_parts(draw: random.Random) -> str:
    parts = ["".join(draw.choices(PIECES[:8], k=2)) for _ in range(draw.randrange(2, 5))]
    return "; ".join(f'filename*{at}="{part}"' for at, part in enumerate([*parts, ".bin"]))


def generated(draw: random.Random, number: int) -> Case:
    found = [draw.choice((parameter, parameter, in_parts))(draw)]
    if draw.random() < 0.3:
        found.append(parameter(draw))
    kind = draw.choice(("attachment", "attachment", "inline", "x"))
    value = draw.choice(("; ", ";", " ; ")).join([kind, *found])
    return Case((b"Content-Disposition: " + value.encode(),), b"case %d\n" % number, "file.php")


def spelled(name: str) -> bytes:
    return name.strip().encode("utf-8", "surrogateescape")


@pytest.mark.e2e
@pytest.mark.parametrize("client", PROGRAMS)
def test_names_of_clients_are_looked_up(client: str, tmp_path: Path) -> None:
    if not installed(client):
        pytest.skip(f"needs apt-get install {PROGRAMS[client]}")
    draw = random.Random(SEED)
    cases = [generated(draw, number) for number in range(CASES)]
    found = names(client, cases, tmp_path)
    missed = []
    for case, name in zip(cases, found, strict=True):
        value = case.fields[0].partition(b": ")[2]
        ours = file_names("http://127.0.0.1:80/case/7/file.php", [value])
        if name is not None and spelled(name) not in set(map(spelled, ours)):
            missed.append((value, name))
    assert not missed
    assert sum(name not in (None, "file.php") for name in found) > CASES // 10
