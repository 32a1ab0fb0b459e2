"""Known answers for the primitives, each with where it is from."""

from __future__ import annotations

import hashlib
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id as LibraryArgon2id

from inkgate.rules.crypto.derive import derive_set_key, expand
from inkgate.rules.crypto.kdf.registry import kdf_of
from inkgate.rules.crypto.profiles import PROFILES, Argon2id, Pbkdf2, Profile


@pytest.mark.parametrize(
    ("ikm", "salt", "info", "length", "prk", "okm"),
    [
        pytest.param(
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            42,
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
            id="RFC 5869, A.1",
        ),
        pytest.param(
            bytes(range(0x50)).hex(),
            bytes(range(0x60, 0xB0)).hex(),
            bytes(range(0xB0, 0x100)).hex(),
            82,
            "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
            "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
            "cc30c58179ec3e87c14c01d5c1f3434f1d87",
            id="RFC 5869, A.2",
        ),
    ],
)
def test_hkdf(ikm: str, salt: str, info: str, length: int, prk: str, okm: str) -> None:
    key = derive_set_key(bytes.fromhex(ikm), bytes.fromhex(salt))
    assert key.hex() == prk
    assert expand(key, bytes.fromhex(info), length).hex() == okm


@pytest.mark.parametrize(
    ("password", "salt", "iterations", "expected"),
    [
        pytest.param(
            b"passwd",
            b"salt",
            1,
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc",
            id="RFC 7914, section 11, first",
        ),
        pytest.param(
            b"Password",
            b"NaCl",
            80_000,
            "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56",
            id="RFC 7914, section 11, second",
        ),
    ],
)
def test_pbkdf2(password: bytes, salt: bytes, iterations: int, expected: str) -> None:
    # The RFC gives 64 bytes; we take the first 32, which PBKDF2 makes the same.
    stretched = kdf_of(Pbkdf2(hash="sha256", iterations=iterations)).stretch(password, salt)
    assert stretched.hex() == expected


def test_argon2id_rfc_9106_section_5_3() -> None:
    # The RFC's vector has a secret and associated data, which a profile has not, so it
    # is the library below the profile that is held to it.
    kdf = LibraryArgon2id(
        salt=b"\x02" * 16,
        length=32,
        iterations=3,
        lanes=4,
        memory_cost=32,
        secret=b"\x03" * 8,
        ad=b"\x04" * 12,
    )
    assert (
        kdf.derive(b"\x01" * 32).hex()
        == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    )


def test_argon2id_profile_is_the_library_with_its_parameters() -> None:
    profile = Argon2id(memory_kib=32, iterations=3, lanes=4)
    plain = LibraryArgon2id(salt=b"\x02" * 16, length=32, iterations=3, lanes=4, memory_cost=32)
    assert kdf_of(profile).stretch(b"\x01" * 32, b"\x02" * 16) == plain.derive(b"\x01" * 32)


def test_chacha20_poly1305_rfc_8439_section_2_8_2() -> None:
    key = bytes(range(0x80, 0xA0))
    nonce = bytes.fromhex("070000004041424344454647")
    aad = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    text = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you "
        b"only one tip for the future, sunscreen would be it."
    )
    sealed = ChaCha20Poly1305(key).encrypt(nonce, text, aad)
    assert sealed[:16].hex() == "d31a8d34648e60db7b86afbc53ef7ec2"
    assert sealed[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"


def test_ed25519_rfc_8032_section_7_1_test_1() -> None:
    key = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert key.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )


def test_every_profile_gives_32_bytes_and_no_two_agree() -> None:
    results = [kdf_of(p).stretch(b"p" * 32, b"s" * 16) for p in PROFILES.values()]
    assert {len(r) for r in results} == {32}
    assert len(set(results)) == len(results)


def test_hkdf_profile_is_hkdf_of_the_password() -> None:
    from inkgate.rules.canonical.fields import length_prefixed

    info = length_prefixed(b"inkgate/v1 stretch")
    # Written out once more from RFC 5869, sections 2.2 and 2.3.
    import hmac

    prk = hmac.new(b"s" * 16, b"p" * 32, hashlib.sha256).digest()
    expected = hmac.new(prk, info + b"\x01", hashlib.sha256).digest()
    assert kdf_of(PROFILES["hkdf"]).stretch(b"p" * 32, b"s" * 16) == expected


@pytest.mark.parametrize(
    "profile",
    [Argon2id(memory_kib=65_536, iterations=8), Pbkdf2(hash="sha512", iterations=500_000)],
    ids=["argon2id", "pbkdf2"],
)
def test_derivation_leaves_the_interpreter_to_other_threads(profile: Profile) -> None:
    ended = threading.Event()

    def derive() -> None:
        kdf_of(profile).stretch(bytes(32), bytes(16))
        ended.set()

    thread = threading.Thread(target=derive)
    thread.start()
    turns = 0
    while not ended.wait(0.001):
        turns += 1
    thread.join()
    # A derivation that kept the interpreter's lock would leave one turn before and one after.
    assert turns > 10
