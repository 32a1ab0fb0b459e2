"""Tokens that nobody made at random are refused where they are read and where they are made."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from inkgate.rules.crypto.keys import KeyFileError, make_token, read_token
from inkgate.rules.crypto.weak_token import weakness

WEAK = {
    "short": b"kF9-xQ2_pL7",
    "equal bytes": b"a" * 16,
    "many equal bytes": b"0" * 64,
    "zeros": bytes(16),
    "ones": b"\xff" * 32,
    "bytes in order": bytes(range(16)),
    "bytes in reverse order": bytes(range(31, -1, -1)),
    "in steps": bytes(range(0, 48, 3)),
    "over the end": bytes(n % 256 for n in range(250, 270)),
    "letters": b"abcdefghijklmnop",
    "digits": b"0123456789012345",
    "two letters": b"abababababababab",
    "four letters": b"kF9-" * 8,
    "a word, repeated": b"kF9-xQ2_" * 4,
    "cut off in a repetition": (b"kF9-xQ2" * 4)[:25],
    "five letters at random": b"abcdeedcbaacebdcadbe",
    "a placeholder": b"changeme-changeme-please",
    "another placeholder": b"CHANGE_ME_1_now_please",
    "password": b"MyPassword2026!!!",
    "the product": b"token-of-inkgate-proxy",
}


@pytest.mark.parametrize("token", WEAK.values(), ids=WEAK)
def test_weak_token_is_refused_with_its_remedy(tmp_path: Path, token: bytes) -> None:
    assert weakness(token)
    path = tmp_path / "token"
    path.write_bytes(token)
    for act in (read_token, make_token):
        with pytest.raises(KeyFileError, match="run inkgate-rules keygen") as error:
            act(path)
        assert f"mv {path} {path}.old" in str(error.value)
        assert token.decode("latin-1") not in str(error.value)
    assert path.read_bytes() == token


def test_partners_weak_token_is_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"a" * 16)
    assert read_token(tmp_path / "token", is_judged=False) == b"a" * 16
    (tmp_path / "token").write_bytes(b"a" * 15)
    with pytest.raises(KeyFileError, match="shorter than 16"):
        read_token(tmp_path / "token", is_judged=False)


@pytest.mark.parametrize(
    "made",
    [
        lambda: secrets.token_bytes(16),
        lambda: secrets.token_bytes(32),
        lambda: secrets.token_hex(16).encode(),
        lambda: secrets.token_urlsafe(32).encode(),
        # A MISP authkey: 40 letters and digits.
        lambda: "".join(
            secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
            for _ in range(40)
        ).encode(),
    ],
)
def test_random_tokens_are_taken(made: object) -> None:
    assert callable(made)
    assert [weakness(made()) for _ in range(3000)] == [None] * 3000


def test_unreadable_token_does_not_send_to_keygen(tmp_path: Path) -> None:
    """It exists, so keygen would keep it."""
    (tmp_path / "token").mkdir()
    with pytest.raises(KeyFileError, match="correct its owner and mode"):
        read_token(tmp_path / "token")
