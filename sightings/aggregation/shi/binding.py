"""libsecp256k1 for many points at once, through a private module of coincurve.

coincurve offers an object a point; its module `_libsecp256k1` has the C functions
themselves. A new version of coincurve may change that module without a word, and a C
function that is called with other arguments than it expects gives wrong sums or ends the
process. So what is used is listed here, and checked when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from inkgate.config.errors import InkgateError
from inkgate.sightings.aggregation.optional import need
from inkgate.sightings.aggregation.shi.curve import base_times, encode_point

PRIVATE: Final = "coincurve._libsecp256k1"
# The C types of the functions, as cffi writes them.
SIGNATURES: Final = {
    "secp256k1_ec_pubkey_parse": (
        "int(*)(struct secp256k1_context_struct *, struct secp256k1_pubkey *, "
        "unsigned char *, size_t)"
    ),
    "secp256k1_ec_pubkey_combine": (
        "int(*)(struct secp256k1_context_struct *, struct secp256k1_pubkey *, "
        "struct secp256k1_pubkey * *, size_t)"
    ),
}
POINT_STRUCT_BYTES: Final = 64


class BindingError(InkgateError):
    """The installed coincurve is not like the versions that this was written for."""

    def __init__(self, difference: str) -> None:
        super().__init__(
            f"coincurve {version('coincurve')}: {difference}, so protocol shi cannot add points; "
            "install the version that locks/aggregation.txt names"
        )


class Binding(NamedTuple):
    """What is used of libsecp256k1.

    Attributes:
        ffi: cffi's interface, for arrays of points (`secp256k1_pubkey`).
        context: the library's first argument.
        parse: `secp256k1_ec_pubkey_parse(context, point, bytes, length)`: 1, or 0 for no point.
        combine: `secp256k1_ec_pubkey_combine(context, sum, points, count)`: 1, or 0 for a
            sum that is the identity.
        public_key: makes a coincurve.PublicKey of a `secp256k1_pubkey *`.
    """

    ffi: Any
    context: Any
    parse: Callable[..., int]
    combine: Callable[..., int]
    public_key: Callable[[Any], Any]


@cache
def binding() -> Binding:
    """The library's functions, checked.

    Raises:
        BindingError: they are not as expected.
        MissingExtraError: coincurve is not installed.
    """
    public_key = need("coincurve").PublicKey
    try:
        module = need(PRIVATE)
        _check_signatures(module)
        found = Binding(
            module.ffi,
            need("coincurve.context").GLOBAL_CONTEXT.ctx,
            module.lib.secp256k1_ec_pubkey_parse,
            module.lib.secp256k1_ec_pubkey_combine,
            public_key,
        )
        _check_sum(found)
    except (AttributeError, TypeError, InkgateError) as error:
        if isinstance(error, BindingError):
            raise
        raise BindingError(f"its inner module has changed ({type(error).__name__})") from None
    return found


def _check_signatures(module: Any) -> None:
    for name, expected in SIGNATURES.items():
        function = getattr(module.lib, name, None)
        if function is None:
            raise BindingError(f"it has no {name}")
        found = module.ffi.getctype(module.ffi.typeof(function))
        if found != expected:
            raise BindingError(f"{name} is {found}")
    size = module.ffi.sizeof("secp256k1_pubkey")
    if size != POINT_STRUCT_BYTES:
        raise BindingError(f"a point has {size} bytes instead of {POINT_STRUCT_BYTES}")


def _check_sum(found: Binding) -> None:
    """G + G, once with these functions and once with coincurve's public ones."""
    points = found.ffi.new("secp256k1_pubkey[2]")
    pointers = found.ffi.new("secp256k1_pubkey *[]", [points, points + 1])
    total = found.ffi.new("secp256k1_pubkey *")
    encoded = encode_point(base_times(1))
    for at in range(2):
        found.parse(found.context, points + at, encoded, len(encoded))
    found.combine(found.context, total, pointers, 2)
    if encode_point(found.public_key(total)) != encode_point(base_times(2)):
        raise BindingError("its inner functions add up wrongly")
