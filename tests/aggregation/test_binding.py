"""The private functions of coincurve that protocol shi calls are the ones it was written for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inkgate.sightings.aggregation.optional import need
from inkgate.sightings.aggregation.shi import binding as module
from inkgate.sightings.aggregation.shi.binding import (
    POINT_STRUCT_BYTES,
    PRIVATE,
    SIGNATURES,
    BindingError,
    binding,
)
from inkgate.sightings.aggregation.shi.curve import base_times, encode_point
from inkgate.sightings.aggregation.shi.point_sums import PointSums

LOCK = Path(__file__).parents[2] / "locks" / "aggregation.txt"


@pytest.fixture(autouse=True)
def _unchecked() -> Iterator[None]:
    """Each test has the binding checked anew."""
    binding.cache_clear()
    yield
    binding.cache_clear()


def test_locked_version_has_the_functions_that_are_used() -> None:
    assert f"coincurve=={version('coincurve')} " in LOCK.read_text()
    ffi, lib = need(PRIVATE).ffi, need(PRIVATE).lib
    found = {name: ffi.getctype(ffi.typeof(getattr(lib, name))) for name in SIGNATURES}
    assert found == SIGNATURES
    assert ffi.sizeof("secp256k1_pubkey") == POINT_STRUCT_BYTES
    binding()


class _Changed:
    """coincurve's inner module as another version might have it."""

    def __init__(self, **changes: object) -> None:
        real = need(PRIVATE)
        self.ffi = changes.pop("ffi", real.ffi)
        functions = {name: getattr(real.lib, name) for name in SIGNATURES}
        self.lib = SimpleNamespace(
            **{name: f for name, f in {**functions, **changes}.items() if f is not None}
        )


class _Ffi:
    """cffi's interface of the inner module, with some answers of another version."""

    def __init__(self, real: Any, size: int = POINT_STRUCT_BYTES) -> None:
        self._real = real
        self._size = size

    def sizeof(self, _name: str) -> int:
        return self._size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda: _Changed(secp256k1_ec_pubkey_combine=None), "has no secp256k1_ec_pubkey_combine"),
        (
            lambda: _Changed(
                secp256k1_ec_pubkey_parse=need(PRIVATE).lib.secp256k1_ec_pubkey_create
            ),
            "secp256k1_ec_pubkey_parse is int",
        ),
        (lambda: _Changed(ffi=_Ffi(need(PRIVATE).ffi, 96)), "a point has 96 bytes"),
        (SimpleNamespace, "its inner module has changed"),
        (lambda: None, "its inner module has changed"),
    ],
)
def test_another_version_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, changed: Any, said: str
) -> None:
    there = changed()
    monkeypatch.setattr(module, "need", lambda name: there if name == PRIVATE else need(name))
    with pytest.raises(BindingError, match=said) as caught:
        PointSums(1, base_times(1))
    text = str(caught.value)
    assert text.startswith(f"coincurve {version('coincurve')}: ")
    assert text.endswith("install the version that locks/aggregation.txt names")
    assert "\n" not in text


def test_functions_that_add_up_wrongly_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = need(PRIVATE)

    def first(_context: Any, total: Any, points: Any, _count: int) -> int:
        """A sum that is only its first part."""
        total[0] = points[0][0]
        return 1

    there = _Changed(ffi=_Ffi(real.ffi), secp256k1_ec_pubkey_combine=first)
    combine = real.lib.secp256k1_ec_pubkey_combine
    there.ffi.typeof = lambda f: real.ffi.typeof(combine if f is first else f)
    monkeypatch.setattr(module, "need", lambda name: there if name == PRIVATE else need(name))
    with pytest.raises(BindingError, match="add up wrongly"):
        binding()


def test_sums_are_those_of_the_public_functions() -> None:
    sums = PointSums(2, base_times(5))
    sums.add(encode_point(base_times(1)) + encode_point(base_times(2)))
    assert encode_point(sums.sum(0)) == encode_point(base_times(6))
    assert encode_point(sums.sum(1)) == encode_point(base_times(7))
