"""Heads that no client and no server should send, made by chance from a seed."""

from __future__ import annotations

import random
from typing import Final

LISTED: Final = "listed.example"
CLEAN: Final = "fine.example"

_METHODS: Final = (
    b"GET",
    b"get",
    b"POST",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"PROPFIND",
    b"HEAD",
    b"M-SEARCH",
    b"PURGE",
    b"PRI",
    b"CONNECT",
    b"X",
    b"",
    b"G\0T",
    b"\xffGET",
    b"GET\t",
    b"G" * 9000,
    b"SEARCH",
    b"LOCK",
    b"QUERY",
    b"G{}T",
    b"%47ET",
)
_VERSIONS: Final = (
    b" HTTP/1.1",
    b" HTTP/1.0",
    b" HTTP/0.9",
    b"",
    b" HTTP/2.0",
    b" HTTP/1.2",
    b" HTTP/9.9",
    b" HTTP/1",
    b" http/1.1",
    b" ICAP/1.0",
    b" HTTP/01.1",
    b" HTTP/1.1\t",
    b" HTTP/1.1 ",
    b"  HTTP/1.1",
    b"\tHTTP/1.1",
    b" HTTP/1.1 HTTP/1.1",
    b" ICY/1.0",
    b" HTTP/1.1\0",
    b" HTTP/65536.1",
)
_HOSTS: Final = (
    b"listed.example",
    b"LISTED.example",
    b"listed.example.",
    b"listed.example..",
    b"a.listed.example",
    b"www.listed.example",
    b"a@listed.example",
    b"a:b@listed.example",
    b"fine.example@listed.example",
    b"listed.example@fine.example",
    b"listed%2eexample",
    b"%6cisted.example",
    b"listed.example%00",
    b"listed.example%00.fine.example",
    b"listed.example\0.fine.example",
    b"listed.example\t",
    b"listed.example\\@fine.example",
    b"listed.example%0a",
    b"listed.example:80",
    b"listed.example:080",
    b"listed.example:",
    b"listed.example:65616",
    b"listed.example:+80",
    b"listed.example:-1",
    b"listed.example:443",
    b"listed.example:80:80",
    b"lis\xc2\xadted.example",
    b"listed\xe3\x80\x82example",
    b"\xef\xbd\x8cisted.example",
    b"\xff.listed.example",
    b"\xe9.listed.example",
    b"_.listed.example",
    b"-.listed.example",
    b"listed.example,fine.example",
    b"[listed.example]",
    b"'listed.example'",
    b"x" * 70 + b".listed.example",
    b"x." * 140 + b"listed.example",
    b"listed.example/@fine.example",
    b" listed.example",
    b"xn--.listed.example",
    b"a..listed.example",
    b".listed.example",
    b"listed.example?@fine.example",
    b"listed.example#@fine.example",
    b"%.listed.example",
)
_SCHEMES: Final = (
    b"http://",
    b"HTTP://",
    b"http:/",
    b"http:",
    b"http:///",
    b"http:////",
    b"//",
    b"",
    b"ftp://",
    b"https://",
    b"ws://",
    b"urn:",
    b"cache_object://",
    b"hTTp:\\\\",
    b"http:// ",
    b"\0http://",
    b"http://\t",
    b"x://",
)
_PATHS: Final = (
    b"/",
    b"",
    b"/a b",
    b"/%00",
    b"/\0",
    b"/%",
    b"/%zz",
    b"/\xff\xfe",
    b"/%ff%fe",
    b"?a=b",
    b"#a",
    b";a",
    b"/../..//",
    b"/" + b"a" * 7000,
    b"/" + b"%41" * 3000,
    b"/" + b"b" * 70_000,
    b"/\xe2\x82\xac",
    b"/'\"<>\\^`{|}",
    b"/a\tb",
    b"/a\x0bb",
    b"/a\rb",
    b"/?" + b"&" * 3000,
    b"*",
)
_FIELDS: Final = (
    b"Host: fine.example",
    b"Host: listed.example",
    b"Host:",
    b"Host : listed.example",
    b"Host:\r\n listed.example",
    b"Host: fine.example, listed.example",
    b"Host: \xff\xfe",
    b"Host: a\0b",
    b"HOST: fine.example",
    b"User-Agent: \xff\xfe\xfd",
    b"User-Agent: a\0b",
    b"User-Agent:",
    b"User-Agent: " + b"u" * 20_000,
    b"User-Agent: a\r\n\tb",
    b"User-Agent: a\r\nUser-Agent: b",
    b"X-Client-IP: 192.0.2.1",
    b"X-Forwarded-For: \xff",
    b"X-Server-IP: 192.0.2.1 80",
    b"Nothing",
    b": nothing",
    b"\xff\xfe: a",
    b"A b: c",
    b"A: " + b"x" * 30_000,
    b"Connection: Host",
    b"Connection: close, Host",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    b"Expect: 100-continue",
    b"Range: bytes=0-0,1-1,2-2",
    b"Range: bytes=99999999999999999999-",
    b"Content-Length: -1",
    b"Content-Length: 3\r\nContent-Length: 4",
    b"Content-Length: 99999999999999999999",
    b"Encapsulated: req-hdr=0, null-body=3",
    b"Preview: 0",
    b"Allow: 204",
    b"Transfer-Encoding: identity",
    b"Trailer: Host",
    b"Proxy-Authorization: Basic \xff",
    b"Max-Forwards: 0",
    b"Via: 1.1 \xff",
    b"Cache-Control: only-if-cached",
    b"\tA: folded",
    b" Host: listed.example",
    b"A: b\rHost: listed.example",
)
_ENDS: Final = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\r\n", b"\r")
_CHUNKS: Final = (
    b"3\r\nabc\r\n0\r\n\r\n",
    b"3;a=b;c\r\nabc\r\n0\r\n\r\n",
    b'3;a="\r\n"\r\nabc\r\n0\r\n\r\n',
    b"3 \r\nabc\r\n0\r\nHost: listed.example\r\nX: \xff\r\n\r\n",
    b"0003\r\nabc\r\n000\r\n\r\n",
    b"-1\r\nabc\r\n0\r\n\r\n",
    b"FFFFFFFFFFFFFFFFF\r\nabc",
    b"3;" + b"e" * 9000 + b"\r\nabc\r\n0\r\n\r\n",
    b"3\nabc\n0\n\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"\r\n",
)
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"

_STATUS_LINES: Final = (
    b"HTTP/1.1 200 OK",
    b"ICY 200 OK",
    b"HTTP/1.0 200",
    b"HTTP/1.1 200",
    b"HTTP/9.9 200 OK",
    b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 -1 X",
    b"HTTP/1.1 099 X",
    b"HTTP/1.1 600 X",
    b"HTTP/1.1 999 X",
    b"HTTP/2 200",
    b"http/1.1 200 ok",
    b"HTTP/1.1 200 \xff\xfe",
    b"",
    b"HTTP/1.1 206 Partial Content",
    b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 101 Switching Protocols",
    b"HTTP/1.1 200 " + b"x" * 60_000,
    b"HTTP/1.1  200  OK",
    b"HTTP/1.1\t200\tOK",
    b"HTTP/1.1 200\0OK",
    b"HTTP/1.1 404 Not Found",
    b"HTTP/1.1 416 X",
    b"HTTP/1.1 503 X",
    b"SIP/2.0 200 OK",
    b"\r\n\r\nHTTP/1.1 200 OK",
    b"\xef\xbb\xbfHTTP/1.1 200 OK",
    b"HTTP/1.1 203 X",
    b"HTTP/1.1 226 IM Used",
    b"HTTP/1.1 407 X",
    b"HTTP/0.9 200 OK",
)
_REPLY_FIELDS: Final = (
    b"Content-Type: \xff/\xfe",
    b"Content-Disposition: attachment; filename=\xff\xfe",
    b"Content-Encoding: \xff",
    b"Content-Encoding: x-gzip",
    b"Content-Encoding: identity",
    b"Content-Encoding: br, gzip, deflate, zstd",
    b"Content-Encoding:\r\n gzip",
    b"Content-Range: bytes 0-9/5",
    b"Content-Range: \xff",
    b"A: \0",
    b"Nothing",
    b": nothing",
    b"A: " + b"x" * 30_000,
    b"\r\n".join(b"A%d: b" % n for n in range(700)),
    b"Trailer: X",
    b"Set-Cookie: \xff\xfe\xfd",
    b"Location: \xff\xfe",
    b"Content-Type: text/event-stream",
    b"X-Inkgate-Incident: a",
    b"Content-Length: 5",
    b"Content-Length: x",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Encapsulated: res-hdr=0",
    b"ISTag: \xff",
    b" folded",
    b"Connection: close, Content-Length",
    b"Date: \xff",
    b"Transfer-Encoding: gzip",
    b"Content-Location: http://listed.example/",
    b"Upgrade: h2c",
    b"Age: -1",
    b"Content-Disposition: attachment; filename*=\xff''%ff%fe",
    b"Refresh: 0",
    b"Vary: *",
    b"Warning: \xff",
)
_EXTENSIONS: Final = (b"", b";a=b", b';a="b;c"', b" ; a", b";" + b"e" * 2000, b";\xff\xfe")
_TRAILERS: Final = (
    b"",
    b"X: y\r\n",
    b"Content-Length: 1\r\n",
    b"X: \xff\r\n",
    b"T: " + b"t" * 20_000 + b"\r\n",
)
_FLOODS: Final = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\xff\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\nA: b\r\n\r\n",
)


def request_head(choose: random.Random) -> bytes:
    """A request for a listed host in which one to three parts are odd."""
    if choose.random() < 0.01:
        return _PREFACE
    parts = ("method", "scheme", "host", "path", "version", "end", "start")
    odd = [*choose.sample(parts, choose.randrange(3)), choose.choice(("fields", "host", "path"))]

    def part(name: str, usual: bytes, others: tuple[bytes, ...]) -> bytes:
        return choose.choice(others) if name in odd else usual

    method = part("method", choose.choice(_METHODS[:2]), _METHODS)
    host = part("host", LISTED.encode(), _HOSTS)
    if method == b"CONNECT":
        target = host + choose.choice((b":443", b":80", b"", b":0", b":99999"))
    else:
        target = part("scheme", b"http://", _SCHEMES) + host + part("path", b"/", _PATHS)
    end = part("end", b"\r\n", _ENDS)
    fields = [b"Host: " + choose.choice((LISTED.encode(), CLEAN.encode()))]
    if "fields" in odd:
        fields[choose.randrange(2) :] = [choose.choice(_FIELDS) for _ in range(3)]
    if "path" in odd and choose.random() < 0.1:
        fields += [b"B%d: c" % n for n in range(600)]
    body = b""
    if method in (b"POST", b"PUT"):
        fields.append(b"Transfer-Encoding: chunked")
        body = choose.choice(_CHUNKS)
    version = part("version", b" HTTP/1.1", _VERSIONS)
    before = part("start", b"", (b"\r\n", b"\n\n", b" ", b"\0", b"\r"))
    return before + end.join((method + b" " + target + version, *fields, b"", body))


def reply(choose: random.Random, body: bytes) -> bytes:
    """A response with a body, of which one to three parts are odd."""
    odd = choose.choices(("floods", "status", "fields", "framing", "end"), k=2)
    lines = [choose.choice(_STATUS_LINES) if "status" in odd else b"HTTP/1.1 200 OK"]
    if "fields" in odd:
        lines += choose.sample(_REPLY_FIELDS, choose.randrange(1, 4))
    floods = choose.choice((1, 10, 300)) if "floods" in odd else 0
    framing = choose.choice(("length", "chunks", "end"))
    if framing == "length":
        lines.append(b"Content-Length: %d" % (len(body) + choose.choice((0, 0, -1, 1, 9000))))
    elif framing == "chunks":
        lines.append(
            choose.choice((b"Transfer-Encoding: chunked", b"Transfer-Encoding:\tChunked "))
        )
        body = _chunked(choose, body)
    head = (b"\n" if "end" in odd else b"\r\n").join((*lines, b"", b""))
    return choose.choice(_FLOODS) * floods + head + body


def _chunked(choose: random.Random, body: bytes) -> bytes:
    pieces = []
    while body:
        size = choose.randrange(1, 2000)
        piece, body = body[:size], body[size:]
        zeros = b"0" * choose.choice((0, 0, 3, 6))
        pieces.append(b"%b%x%b\r\n%b\r\n" % (zeros, len(piece), choose.choice(_EXTENSIONS), piece))
    return b"".join(pieces) + b"0\r\n" + choose.choice(_TRAILERS) + b"\r\n"
