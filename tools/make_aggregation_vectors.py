"""Make tests/vectors/aggregation. Run once: the vectors are the contract, not the code.

It ends at the first file that is there, so a new one is the first in `main`.

The mask key and self mask of real sessions are shared with random polynomials; the shares here
were drawn once, like everything else that is random in a session.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.sightings.aggregation.group import AggregatorKeys, Group
from inkgate.sightings.aggregation.keystream import words
from inkgate.sightings.aggregation.labels import Labels, label_of
from inkgate.sightings.aggregation.masked import masks
from inkgate.sightings.aggregation.masked.secret_sharing import split_secret
from inkgate.sightings.aggregation.masked.subscriber import ROUNDS, MaskedContributor
from inkgate.sightings.aggregation.noise import thresholds
from inkgate.sightings.aggregation.session import Session
from inkgate.sightings.aggregation.shi.scheme import ShiContributor, curve
from inkgate.sightings.aggregation.wire import join_pairs, seal_down

NAMES = ("alpha", "beta", "gamma")
UUIDS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(4)]
COUNTS = {"alpha": [3, 0, 1, 0], "beta": [4, 0, 0, 1000], "gamma": [0, 0, 5, 1]}
IDENTITY = {n: Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32) for i, n in enumerate(NAMES)}
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes([32]) * 32)
SEALING = bytes([33]) * 32
SECRET = {name: bytes([16 + n]) * 32 for n, name in enumerate(NAMES)}
SHI_KEY = {name: curve.scalar(7 ** (100 + n)) for n, name in enumerate(NAMES)}


def session(protocol: Any) -> Session:
    keys = {n: k.public_key().public_bytes_raw().hex() for n, k in IDENTITY.items()}
    aggregator = AggregatorKeys(
        signing=SIGNING.public_key().public_bytes_raw().hex(),
        sealing=masks.public_of(SEALING).hex(),
    )
    group = Group(name="isac", aggregator=aggregator, protocol=protocol, subscribers=keys,
                  threshold=3, quota_subscribers=3)  # fmt: skip
    return Session(group, "2026-01-05", Labels(7, map(label_of, UUIDS)))


def common(made: Session) -> dict[str, Any]:
    return {
        "group": json.loads(made.group.encoded),
        "group_digest": made.group.digest.hex(),
        "uuids": UUIDS,
        "list": made.labels.encode().decode(),
        "list_digest": made.labels.digest.hex(),
        "period": made.period,
        "session": made.id.hex(),
        "identity": {n: k.private_bytes_raw().hex() for n, k in IDENTITY.items()},
        "counts_in_list_order": COUNTS,
        "totals": [sum(column) for column in zip(*COUNTS.values(), strict=True)],
    }


def shi() -> dict[str, Any]:
    made = session("shi")
    own = curve.scalar(-sum(int.from_bytes(key) for key in SHI_KEY.values()))
    points = [curve.hash_to_point(made.id, label) for label in made.labels]
    messages = {
        name: ShiContributor(made, name, IDENTITY[name], SHI_KEY[name]).answer([], COUNTS[name])
        for name in NAMES
    }
    return {
        **common(made),
        "subscriber_keys": {name: key.hex() for name, key in SHI_KEY.items()},
        "aggregator_key": own.hex(),
        "points": [curve.encode_point(point).hex() for point in points],
        "messages": {name: message.hex() for name, message in messages.items()},
    }


def masked() -> dict[str, Any]:
    made = session("masked")
    contributors = {n: MaskedContributor(made, n, IDENTITY[n], SECRET[n]) for n in NAMES}
    secrets = {n: masks.Secrets(made.id, SECRET[n]) for n in NAMES}
    keys = [contributors[n].answer([], []) for n in NAMES]
    roster = length_prefixed(*keys)
    shares = {n: (split_secret(secrets[n].mask_key, 3, 3), split_secret(secrets[n].self_mask, 3, 3))
              for n in NAMES}  # fmt: skip
    sealed = {
        u: {v: masks.seal_shares(made.id, secrets[u].channel_key, secrets[v].public[:32], u, v,
                                 shares[u][0][n] + shares[u][1][n])
            for n, v in enumerate(NAMES)}
        for u in NAMES
    }  # fmt: skip
    histories = {v: [roster, join_pairs({u: sealed[u][v] for u in NAMES})] for v in NAMES}
    rounds = [keys]
    rounds.append([contributors[n].answer(histories[n], COUNTS[n]) for n in NAMES])
    survivors = length_prefixed(*(name.encode() for name in NAMES))
    histories = {n: [*h, survivors] for n, h in histories.items()}
    rounds.append([contributors[n].answer(histories[n], []) for n in NAMES])
    signed = length_prefixed(*rounds[-1])
    rounds.append([contributors[n].answer([*histories[n], signed], []) for n in NAMES])
    names = [kind for kind in ROUNDS if kind != "shares"]
    registered = {n: s.public[32:] for n, s in secrets.items()}
    pair = masks.pair_mask(made.id, secrets["alpha"].mask_key, "alpha", "beta", registered)
    return {
        **common(made),
        "aggregator_sealing": SEALING.hex(),
        "aggregator_signing": SIGNING.private_bytes_raw().hex(),
        "sent_signed": {n: [seal_down(kind, made, n, body, SIGNING).hex() for kind, body
                            in zip(ROUNDS[1:], (*histories[n], signed), strict=True)]
                        for n in NAMES},
        "secret": {n: key.hex() for n, key in SECRET.items()},
        "mask_key": {n: s.mask_key.hex() for n, s in secrets.items()},
        "channel_key": {n: s.channel_key.hex() for n, s in secrets.items()},
        "self_mask": {n: s.self_mask.hex() for n, s in secrets.items()},
        "public": {n: s.public.hex() for n, s in secrets.items()},
        "pair_mask_alpha_beta": pair.hex(),
        "self_mask_stream": {n: masks.self_mask(made.id, s.self_mask).hex()
                             for n, s in secrets.items()},
        "commitment": {n: masks.commitment(made.id, s.self_mask).hex() for n, s in secrets.items()},
        "words_of_pair_mask": [f"{int(w):016x}" for w in words(pair, 4)],
        "shares_of_mask_key": {n: [s.hex() for s in shares[n][0]] for n in NAMES},
        "shares_of_self_mask": {n: [s.hex() for s in shares[n][1]] for n in NAMES},
        "sealed": {u: {v: s.hex() for v, s in row.items()} for u, row in sealed.items()},
        "received": {n: [h.hex() for h in (*histories[n], signed)] for n in NAMES},
        "messages": {
            kind: {n: m.hex() for n, m in zip(NAMES, row, strict=True)}
            for kind, row in zip(names, rounds, strict=True)
        },
    }  # fmt: skip


def noise() -> dict[str, Any]:
    table = thresholds(0.5)
    return {
        "epsilon_over_sensitivity": 0.5,
        "reach": len(table) // 2,
        "thresholds": [f"{t:016x}" for t in table],
    }


def main() -> None:
    folder = Path(__file__).parent.parent / "tests" / "vectors" / "aggregation"
    folder.mkdir(exist_ok=True)
    for name, make in {"shi": shi, "masked": masked, "noise": noise}.items():
        path = folder / f"{name}.json"
        if path.exists():
            sys.exit(f"{path} is there: vectors are made once")
        path.write_text(json.dumps(make(), indent=1) + "\n")


if __name__ == "__main__":
    main()
