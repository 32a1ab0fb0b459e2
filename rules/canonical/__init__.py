"""Canonical values: publisher and subscriber must write the same thing the same way.

In: a MISP type and a value as somebody wrote it, or a host or URL as a proxy saw it.
Out: the one canonical form (docs/format.md, section 2), with its kind and the host that
gates ask for; or Refused, with a reason that never holds the value.

What must hold: a canonical form is a fixed point; hostile input costs bounded work;
what is ambiguous is refused and never guessed. Rules, keys and files are not known
here. A change of a form is a change of the format: sealed rules would not be found.
"""

from inkgate.rules.canonical.addresses import (
    canonical_address,
    canonical_network,
    embedded_v4,
    network_of,
)
from inkgate.rules.canonical.attributes import Value, canonical_attribute
from inkgate.rules.canonical.classes import ObservedAt, class_of, classes_at, single_classes
from inkgate.rules.canonical.defang import refang
from inkgate.rules.canonical.forms import Kind
from inkgate.rules.canonical.hosts import Host, canonical_host
from inkgate.rules.canonical.names import canonical_name, parents, suffixes
from inkgate.rules.canonical.refused import MAX_VALUE_BYTES, Refused
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
    "MAX_VALUE_BYTES",
    "Authority",
    "Host",
    "Kind",
    "ObservedAt",
    "Refused",
    "Url",
    "Value",
    "canonical_address",
    "canonical_attribute",
    "canonical_authority",
    "canonical_host",
    "canonical_name",
    "canonical_network",
    "canonical_url",
    "class_of",
    "classes_at",
    "embedded_v4",
    "network_of",
    "observed_authority",
    "observed_url",
    "parents",
    "refang",
    "single_classes",
    "strip_www",
    "suffixes",
]
