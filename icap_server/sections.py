"""What a worker needs of inkgate.toml: read and checked as a whole, before anything starts."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

from inkgate.blocked_page.page import BlockedPages, load_pages
from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.kept_files import place_of
from inkgate.config.settings_file import SettingsError, load_section, resolve
from inkgate.icap_server.settings import IcapSettings
from inkgate.rules.settings import RulesSettings
from inkgate.sightings.journal.backends.registry import backend_of
from inkgate.sightings.settings import SightingsSettings


class Sections(NamedTuple):
    """The settings of a worker.

    Attributes:
        icap: section `[icap]`.
        pages: the pages, from section `[squid_conf]`.
        context: for ICAP over TLS, or None.
        files: all that was read.
    """

    icap: IcapSettings
    pages: BlockedPages
    context: ssl.SSLContext | None
    files: tuple[Path, ...]


def load_sections(config: Path, *, secure: bool = False) -> Sections:
    """Read the settings; sections that others read later are checked as well.

    Args:
        config: the settings file.
        secure: TLS is spoken whatever `tls_listen` says now.

    Raises:
        InkgateError: some of it cannot be used.
    """
    icap = load_section(config, "icap", IcapSettings)
    squid = load_section(config, "squid_conf", SquidSettings)
    pages = load_pages(config, squid)
    # RuleSet and Recorder only log that theirs are wrong, as the helper needs it. An ICAP
    # server must not start with them.
    load_section(config, "rules", RulesSettings)
    backend_of(config, load_section(config, "sightings", SightingsSettings))
    context = tls_context(config, icap) if secure or icap.tls_listen else None
    named = (squid.template, icap.tls_certificate, icap.tls_key)
    return Sections(icap, pages, context, (config, *(resolve(config, n) for n in named if n)))


def tls_context(config: Path, settings: IcapSettings) -> ssl.SSLContext:
    """The server's side of TLS.

    Raises:
        SettingsError: certificate, key or authorities cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate = resolve(config, settings.tls_certificate)
    key = resolve(config, settings.tls_key)
    try:
        # With a password at hand, OpenSSL does not ask the terminal for one.
        context.load_cert_chain(place_of(certificate), place_of(key), password="")
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            config,
            f"[icap] tls_certificate and tls_key cannot be used ({error.strerror or 'not PEM'})",
            "give two PEM files that this user can read",
        ) from None
    if settings.tls_client_ca:
        _ask_for_certificates(context, config, settings.tls_client_ca)
    return context


def _ask_for_certificates(context: ssl.SSLContext, config: Path, authorities: str) -> None:
    # Without those of the system, which create_default_context knows nothing of for clients.
    try:
        context.load_verify_locations(resolve(config, authorities))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            config,
            f"[icap] tls_client_ca cannot be used ({error.strerror or 'not PEM'})",
            "give a PEM file with certificates of authorities that this user can read",
        ) from None
    context.verify_mode = ssl.CERT_REQUIRED
