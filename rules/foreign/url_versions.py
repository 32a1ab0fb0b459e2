"""How each version of url-normalize spells a URL.

The thesis's programs ask for url-normalize without a version, so a partner's rules hold
the spelling of whatever was installed when they were made, and its matcher makes the
spelling of whatever is installed when it runs. Versions that spell alike are one entry of
`VERSIONS`; tests/foreign/url_spellings.json has what the real versions made.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

# A URL to its spelling; raises any exception on what the version cannot read.
Normalize = Callable[[str], str]

NEWEST: Final = "newest"
_PATH_AND_QUERY: Final = "~:/?#[]@!$'()*+,;="
_WITH_FOLDERS: Final = frozenset(("", "http", "https", "ftp", "file"))
_ROOTED: Final = _WITH_FOLDERS - {""}
_AUTHORITY_SCHEMES: Final = frozenset(("http", "https", "ftp", "ftps"))
_AUTHORITY: Final = re.compile(r"([^@]*@)?([^:]*):?(.*)")
_PORTS: Final = MappingProxyType(
    {
        "ftp": "21",
        "gopher": "70",
        "http": "80",
        "https": "443",
        "news": "119",
        "nntp": "119",
        "snews": "563",
        "snntp": "563",
        "telnet": "23",
    }
)
_PORTS_1_3: Final = _PORTS | {"prospero": "191"}
_PORTS_1_4: Final = _PORTS | {"ws": "80", "wss": "443"}
# What IDNA 2003 and the transitional mapping of UTS 46 change, and IDNA 2008 keeps.
_DEVIATIONS: Final = str.maketrans({"\u00df": "ss", "\u03c2": "\u03c3", "\u200c": "", "\u200d": ""})


@dataclass(frozen=True, slots=True)
class _Version:
    """What is different from version to version; the rest is `_normalized`."""

    prepared: Callable[[str], str]
    host: Callable[[str], str]
    port: Callable[[str, str], str]
    query: Callable[[str], str]
    path_safe: str = _PATH_AND_QUERY + "&"
    keeps_hash: bool = False


def _normalized(version: _Version, url: str) -> str:
    url = version.prepared(url)
    scheme, authority, path, query, fragment = urlsplit(url.strip())
    found = _AUTHORITY.match(authority)
    user, host, port = found.groups() if found else ("", "", "")
    port = version.port(port, scheme)
    netloc: str = (
        ("" if user in ("@", ":@") else user or "")
        + version.host(host.lower())
        + (f":{port}" if port else "")
    )
    path = _path(_requoted(path, version.path_safe), scheme)
    if version.keeps_hash and url.endswith("#") and not query and not fragment:
        path += "#"
    made: str = urlunsplit((scheme, netloc, path, version.query(query), _requoted(fragment, "~")))
    return made


def _requoted(text: str, safe: str) -> str:
    return quote(unicodedata.normalize("NFC", unquote(text)), safe)


def _path(path: str, scheme: str) -> str:
    if scheme in _WITH_FOLDERS:
        parts = path.split("/")
        kept: list[str] = []
        for part in parts:
            if part == "..":
                # The first part stands for the root, and stays.
                del kept[max(1, len(kept) - 1) :]
            elif part not in ("", ".") or (part == "" and not kept):
                kept.append(part)
        path = "/".join(kept + [""] * (parts[-1] in ("", ".", "..")))
    return path or ("/" if scheme in _ROOTED else "")


# --- 1.3: HTTP where there is no scheme, parameters in their order.


def _prepared_1_3(url: str) -> str:
    if url[0] not in "/-" and ":" not in url[:7]:
        url = "http://" + url
    return re.sub(r"\?utm_source=feedburner.+$", "", url.replace("#!", "?_escaped_fragment_="))


def _host_1_3(host: str) -> str:
    return host.removesuffix(".").encode("idna").decode()


def _port_1_3(port: str, scheme: str) -> str:
    if scheme not in _PORTS_1_3 or not port.isdigit():
        return port
    return _without_default(port, _PORTS_1_3[scheme])


def _query_1_3(query: str) -> str:
    return "&".join(_parameters_1(query))


def _parameters_1(query: str) -> list[str]:
    return [
        "=".join(_requoted(side, _PATH_AND_QUERY) for side in parameter.split("=", 1))
        for parameter in query.split("&")
    ]


def _without_default(port: str, default: str | None) -> str:
    port = str(int(port))
    return "" if port == default else port


# --- 1.4: HTTPS where there is no scheme, parameters sorted.


def _prepared_1_4(url: str) -> str:
    url = _with_scheme(url).replace("#!", "?_escaped_fragment_=")
    return re.sub("utm_source=[^&]+&?", "", url).rstrip("&? ")


def _with_scheme(url: str) -> str:
    if not url or ":" in url[:7] or _is_file(url):
        return url
    return f"https:{url}" if url.startswith("//") else f"https://{url}"


def _is_file(url: str) -> bool:
    return url == "-" or (url.startswith("/") and not url.startswith("//"))


def _host_1_4(host: str) -> str:
    return host.strip(".").encode("idna").decode()


def _port_1_4(port: str, scheme: str) -> str:
    # A port behind a scheme that it does not know ends version 1.4 with a KeyError.
    return _without_default(port, _PORTS_1_4[scheme]) if port.isdigit() else port


def _query_1_4(query: str) -> str:
    return "&".join(sorted(_parameters_1(query)))


# --- 2.0: names by IDNA 2008, parameters in their order, without empty ones.


def _prepared_2_0(url: str) -> str:
    return _with_scheme(url).replace("#!", "?_escaped_fragment_=").rstrip("&? ")


def _host_2008(host: str) -> str:
    # Imported here: the import is slow, and only URLs need it.
    import idna  # noqa: PLC0415

    host = host.strip(".")
    try:
        labels = [idna.encode(label, uts46=True) for label in host.split(".") if label]
        return b".".join(labels).decode()
    except idna.IDNAError:
        return host.encode("idna").decode()


def _host_transitional(host: str) -> str:
    # idna maps these itself below version 3.7 or so; today it ignores the wish.
    return _host_2008(host.translate(_DEVIATIONS))


def _port_2_0(port: str, scheme: str) -> str:
    return _without_default(port, _PORTS_1_4.get(scheme)) if port.isdigit() else port


def _query_2(query: str, safe: str) -> str:
    return "&".join(
        _requoted(name, safe) + (f"={_requoted(value, safe)}" if value else "")
        for name, _, value in (part.partition("=") for part in query.split("&") if part)
    )


# --- 2.2: slashes before a host, `?` in a path and `=` in a value are other than in 2.0.


def _prepared_2_2(url: str) -> str:
    if url and not _is_file(url):
        if ":" not in url[:7]:
            url = f"https://{url.lstrip('/')}"
        scheme, _, rest = url.partition(":")
        if scheme.lower() in _AUTHORITY_SCHEMES:
            url = f"{scheme}://{rest.lstrip('/')}"
    return url.replace("#!", "?_escaped_fragment_=").rstrip("&? ")


def _newest(url: str) -> str:
    # Imported here: the import is slow, and only URLs need it.
    from url_normalize import url_normalize  # noqa: PLC0415

    return url_normalize(url) or ""


_query_2_0: Final = partial(_query_2, safe=_PATH_AND_QUERY)
_query_2_2: Final = partial(_query_2, safe="~:/?[]@!$'()*+,;")
_V2_2: Final = "~:/#[]@!$&'()*+,;="
_OLDER: Final = {
    "1.3": _Version(_prepared_1_3, _host_1_3, _port_1_3, _query_1_3, keeps_hash=True),
    "1.4": _Version(_prepared_1_4, _host_1_4, _port_1_4, _query_1_4),
    "2.0": _Version(_prepared_2_0, _host_transitional, _port_2_0, _query_2_0),
    "2.2": _Version(_prepared_2_2, _host_transitional, _port_2_0, _query_2_2, _V2_2),
    "3.0": _Version(_prepared_2_2, _host_2008, _port_2_0, _query_2_2, _V2_2),
}

VERSIONS: Final[MappingProxyType[str, Normalize]] = MappingProxyType(
    {
        **{name: partial(_normalized, version) for name, version in _OLDER.items()},
        # As installed beside inkgate; 3.1 in its locks.
        NEWEST: _newest,
    }
)
"""From the first version that spells so to its spelling, oldest first."""
