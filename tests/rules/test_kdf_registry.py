"""KDF profiles and the KDFs that run them: what they load, and what cannot be forgotten."""

from __future__ import annotations

import subprocess
import sys
import typing
from pathlib import Path

import pytest

from inkgate.rules.crypto.profiles import PROFILES, Profile
from support.registry_copy import ROOT, SourceCopy, copy_sources

PROFILES_FILE = "rules/crypto/profiles.py"
REGISTRY = "inkgate.rules.crypto.kdf.registry"
UNION = "Profile = Argon2id | Pbkdf2 | Hkdf\n"
SOUND = """
    def is_sound(self) -> bool:
        return True
"""
WITHIN = """
    def is_within(self, caps: Caps) -> bool:
        return bool(caps.pbkdf2_iterations)
"""


def add_algorithm(copy: SourceCopy, *methods: str) -> None:
    structure = 'class Balloon(msgspec.Struct, frozen=True, tag_field="algorithm", tag="balloon"):'
    text = f'{structure}\n    """Made up."""\n{"".join(methods)}\n\n'
    copy.replace(PROFILES_FILE, UNION, f"{text}Profile = Argon2id | Pbkdf2 | Hkdf | Balloon\n")


@pytest.mark.slow
def test_profile_without_kdf_fails_mypy(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    assert copy.mypy(REGISTRY) == []
    add_algorithm(copy, SOUND, WITHIN)
    (error,) = copy.mypy(REGISTRY)
    assert "kdf/registry.py" in error
    assert '"assert_never" has incompatible type "Balloon"' in error


@pytest.mark.slow
def test_profile_without_cost_check_fails_mypy(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    add_algorithm(copy, SOUND)
    errors = copy.mypy("inkgate.rules.crypto.profiles")
    assert len(errors) == 1
    assert (
        '"Balloon" of "Argon2id | Pbkdf2 | Hkdf | Balloon" has no attribute "is_within"'
        in (errors[0])
    )


def test_documents_name_every_profile_and_algorithm() -> None:
    settings = (ROOT / "docs/settings.md").read_text()
    assert [name for name in PROFILES if f"`{name}`" not in settings] == []
    algorithms = [p.__struct_config__.tag for p in typing.get_args(Profile)]
    table = (ROOT / "docs/format.md").read_text()
    assert [name for name in algorithms if f"| `{name}` |" not in table] == []


def test_reading_settings_loads_no_cryptography_and_nothing_of_the_publishers() -> None:
    code = "import sys, inkgate.rules.settings; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = done.stdout.split()
    ours = {name for name in loaded if name.startswith("inkgate.")}
    assert "inkgate.rules.crypto.profiles" in ours
    assert {".".join(name.split(".")[:3]) for name in ours} <= {
        "inkgate.config",
        "inkgate.config.errors",
        "inkgate.rules",
        "inkgate.rules.crypto",
        "inkgate.rules.errors",
        "inkgate.rules.settings",
    }
    assert not {"cryptography", "pymispwarninglists", "idna", "lmdb"} & set(loaded)
