"""Canonical values: publisher and subscriber must write the same thing the same way."""

from inkgate.rules.canonical.addresses import canonical_address, canonical_network, network_of
from inkgate.rules.canonical.attributes import Kind, Value, canonical_attribute
from inkgate.rules.canonical.defang import refang
from inkgate.rules.canonical.digests import canonical_digest
from inkgate.rules.canonical.hosts import Host, canonical_host
from inkgate.rules.canonical.names import canonical_name, parents, suffixes
from inkgate.rules.canonical.refused import Refused
from inkgate.rules.canonical.urls import (
    Authority,
    Url,
    canonical_authority,
    canonical_url,
    observed_authority,
    observed_url,
    strip_www,
)

__all__ = [
    "Authority",
    "Host",
    "Kind",
    "Refused",
    "Url",
    "Value",
    "canonical_address",
    "canonical_attribute",
    "canonical_authority",
    "canonical_digest",
    "canonical_host",
    "canonical_name",
    "canonical_network",
    "canonical_url",
    "network_of",
    "observed_authority",
    "observed_url",
    "parents",
    "refang",
    "strip_www",
    "suffixes",
]
