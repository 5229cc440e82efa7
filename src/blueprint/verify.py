"""Is a dataset what its signed certificate says, and does a release policy admit it? A file that stands alone.

    python verify.py DATASET --key lab.pub [--policy physics_verified]      (or: blueprint verify ...)

It needs Python 3.11 and `cryptography`, and nothing else of the product: copy it, read it, run it anywhere. It fails
closed: what cannot be checked is refused.

The certificate is an in-toto Statement v1 in a DSSE envelope (github.com/secure-systems-lab/dsse, v1.0), signed with
Ed25519 (RFC 8032). Its subject names every file of the dataset with its SHA-256: a file that is missing, changed or
additional is refused. Trust comes from the key that the reader brings, never from anything in the dataset.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ENVELOPE = "certificate.dsse.json"  # in the dataset's root, or beside the dataset, alone or behind its name and a dot
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://blueprintpipeline.dev/quality-certificate/v1"
MOST_ENVELOPE_BYTES = 2**30

LEVELS = ("unsuitable", "development_only", "physics_verified", "production_training")  # lowest first
KNOWN_SENSORS = ("isaac_sim_replicator", "mujoco")
MADE_UP = ("mock",)


@dataclass(frozen=True)
class Policy:
    """sensors: sources that it admits, None = any but made-up ones; verified: physics and success must have held;
    least: the lowest training suitability"""

    name: str
    text: str
    sensors: tuple[str, ...] | None
    verified: bool
    least: str


POLICIES = {
    policy.name: policy
    for policy in (
        Policy(
            "production",
            "sensors of Isaac Sim Replicator only, physics and success verified",
            ("isaac_sim_replicator",),
            True,
            "production_training",
        ),
        Policy(
            "physics_verified",
            "MuJoCo's sensors too, physics and success verified",
            KNOWN_SENSORS,
            True,
            "physics_verified",
        ),
        Policy("development", "anything that is not made up", None, False, "development_only"),
    )
}
DEFAULT_POLICY = "production"


class Refused(Exception):
    """The dataset is not to be trusted or not to be released. reasons: all that were found."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


@dataclass(frozen=True)
class Verified:
    """keyid: of the key whose signature held; policy: that admitted it; subject: file -> SHA-256; predicate: the
    certificate's content"""

    keyid: str
    policy: str
    subject: Mapping[str, str]
    predicate: Mapping[str, Any]


def verify(dataset: Path, keys: Iterable[bytes], policy: str = DEFAULT_POLICY) -> Verified:
    """keys: raw Ed25519 public keys (32 bytes) that the reader trusts. Raises Refused with every reason."""
    statement, keyid = read_statement(envelope_of(dataset), keys)
    predicate = statement["predicate"]
    subject = {entry["name"]: entry["digest"]["sha256"] for entry in statement["subject"]}
    reasons = [*differences(dataset, subject), *objections(predicate, policy)]
    if reasons:
        raise Refused(reasons)
    return Verified(keyid, policy, subject, predicate)


def episode_of(done: Verified, number: int) -> Mapping[str, Any]:
    """What is certified of one episode of the dataset. Raises Refused when it has none of that number."""
    for episode in done.predicate["episodes"]:
        if episode["episode"] == number:
            return episode
    raise Refused([f"there is no episode {number}; the dataset has {len(done.predicate['episodes'])}"])


def envelope_of(dataset: Path) -> Path:
    """Raises Refused when the dataset is none, or comes without a signed certificate."""
    if not dataset.is_dir():
        raise Refused([f"{dataset} is no folder"])
    for path in (dataset / ENVELOPE, dataset.parent / f"{dataset.name}.{ENVELOPE}", dataset.parent / ENVELOPE):
        if path.is_file():
            return path
    raise Refused([f"no signed certificate ({ENVELOPE}) in {dataset} or beside it"])


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed (DSSE v1.0, PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def key_id(public: bytes) -> str:
    """SHA-256 of the raw public key."""
    return hashlib.sha256(public).hexdigest()


def read_statement(envelope: Path, keys: Iterable[bytes]) -> tuple[dict[str, Any], str]:
    """(the statement, id of the key whose signature holds). Raises Refused unless a trusted key signed exactly it."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    trusted = {key_id(key): key for key in keys}
    if not trusted:
        raise Refused(["no public key was given: who is to be trusted?"])
    try:
        if envelope.stat().st_size > MOST_ENVELOPE_BYTES:
            raise ValueError("it is too large")
        content = json.loads(envelope.read_bytes())
        if content["payloadType"] != PAYLOAD_TYPE:
            raise ValueError(f"its payload is {content['payloadType']!r}")
        payload = base64.b64decode(content["payload"], validate=True)
        given = content["signatures"]
        signatures = [(str(s.get("keyid", "")), base64.b64decode(s["sig"], validate=True)) for s in given]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused([f"{envelope.name} is no DSSE envelope: {error}"]) from error
    signed = pre_authentication_encoding(PAYLOAD_TYPE, payload)
    for name, key in trusted.items():
        for _, signature in signatures:
            try:
                Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
            except InvalidSignature:
                continue
            return _statement(payload), name
    said = ", ".join(keyid[:12] or "unnamed" for keyid, _ in signatures) or "nobody"
    raise Refused([f"no signature by a trusted key (signed by {said}; trusted: {', '.join(k[:12] for k in trusted)})"])


def _statement(payload: bytes) -> dict[str, Any]:
    """Raises Refused when what was signed is no statement of ours."""
    try:
        statement = json.loads(payload)
        if statement["_type"] != STATEMENT_TYPE or statement["predicateType"] != PREDICATE_TYPE:
            raise ValueError(f"it is a {statement['predicateType']!r}")
        names = [entry["name"] for entry in statement["subject"]]
        digests = [entry["digest"]["sha256"] for entry in statement["subject"]]
        if len(set(names)) != len(names) or not names or not all(isinstance(d, str) and len(d) == 64 for d in digests):
            raise ValueError("its subject is no list of files")
        if not isinstance(statement["predicate"], dict):
            raise ValueError("its predicate is no certificate")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused([f"the signed content is no quality certificate: {error}"]) from error
    return statement


def differences(dataset: Path, subject: Mapping[str, str]) -> list[str]:
    """Every way in which the files are not those that were signed."""
    found: list[str] = []
    present: set[str] = set()
    for path in _files(dataset, found):
        name = path.relative_to(dataset).as_posix()
        if name == ENVELOPE:
            continue
        present.add(name)
        if name not in subject:
            found.append(f"{name} is not in the certificate")
        elif file_sha256(path) != subject[name]:
            found.append(f"{name} was changed")
    found += [f"{name} is missing" for name in sorted(set(subject) - present)]
    return found


def _files(root: Path, found: list[str]) -> Iterable[Path]:
    """Regular files below a folder; links and other things are noted in `found`, since they could lead anywhere."""
    for folder, folders, names in os.walk(root, onerror=lambda error: found.append(f"cannot be read: {error}")):
        for name in sorted([*names, *(f for f in folders if (Path(folder) / f).is_symlink())]):
            path = Path(folder) / name
            if stat.S_ISREG(path.lstat().st_mode):
                yield path
            else:
                found.append(f"{path.relative_to(root).as_posix()} is no regular file")


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def objections(predicate: Mapping[str, Any], policy: str) -> list[str]:
    """Why a release policy does not admit data with this certificate; empty if it does."""
    if policy not in POLICIES:
        return [f"no policy {policy!r}; there are: {', '.join(POLICIES)}"]
    rule = POLICIES[policy]
    try:
        frames, level = int(predicate["frame_count"]), str(predicate["training_suitability"])
        parts = {
            name: [(str(e["sensor_source"]), int(e["first_frame"]), int(e["last_frame"])) for e in predicate[name]]
            for name in ("frames", "episodes")
        }
        failed = [str(c["text"]) for c in predicate["measurements"] if c["passed"] is False]
        verified = predicate["physics_verified"] is True
        tried = [int(e["episode"]) for e in predicate["episodes"] if e["success"] is False]
        doubted = [
            int(e["episode"]) for e in predicate["episodes"] if not (e["verified"] is True and e["success"] is True)
        ]
        rights = commercial_use(str(i["commercial"]) for i in predicate["inputs"])
        told = predicate["commercial_use"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"the certificate does not say what the policy needs: {error}"]
    found = []
    for name, ranges in parts.items():
        ends = sorted((first, last) for _, first, last in ranges)
        if frames <= 0 or [0, *(last + 1 for _, last in ends)] != [*(first for first, _ in ends), frames]:
            found.append(f"the certificate's {name} do not cover every frame once")
    sources = sorted({source for ranges in parts.values() for source, _, _ in ranges})
    found += made_up(sources)
    for source in sources:
        if rule.sensors is not None and source not in rule.sensors and not made_up([source]):
            found.append(f"policy {policy} does not admit sensors of {source!r}, only {', '.join(rule.sensors)}")
    if level not in LEVELS or LEVELS.index(level) < LEVELS.index(rule.least):
        found.append(f"training suitability is {level}; policy {policy} needs {rule.least}")
    if told != rights:
        found.append(f"the certificate says commercial use: {told}, its inputs say {rights}")
    if rule.verified:
        found += _unverified(policy, verified, failed, tried, doubted)
    return found


def _unverified(policy: str, verified: bool, failed: list[str], tried: list[int], doubted: list[int]) -> list[str]:
    """failed: checks that do not hold; tried, doubted: episodes that failed, that were not verified"""
    found = []
    if not verified:
        found.append(f"physics and success were not verified; policy {policy} needs that")
    if failed:
        found.append(f"checks failed: {', '.join(failed[:3])}")
    for numbers, said in ((tried, "are failed attempts"), (doubted, "were not verified")):
        if numbers:
            more = ", ..." if len(numbers) > 3 else ""
            found.append(f"episodes {', '.join(map(str, numbers[:3]))}{more} {said}; policy {policy} takes no such")
    return found


def commercial_use(verdicts: Iterable[str]) -> Literal["yes", "no", "unknown"]:
    """Of all inputs together: `no` if any is, `yes` only if all are, else `unknown`; also without any."""
    found = set(verdicts)
    return "no" if "no" in found else "yes" if found == {"yes"} else "unknown"


def made_up(sources: Iterable[str]) -> list[str]:
    """Why sensor sources are made up, whatever they are called; empty if none is."""
    return [
        f"sensor data is made up ({source}): no policy admits it"
        for source in sources
        if any(word in source.lower() for word in MADE_UP)
    ]


def read_public_key(path: Path) -> bytes:
    """The raw key of a PEM file (SubjectPublicKeyInfo) or of 64 hexadecimal digits. Raises Refused."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        text = path.read_bytes().strip()
        if text.startswith(b"-----"):
            key = load_pem_public_key(text)
            if not isinstance(key, Ed25519PublicKey):
                raise ValueError("it is no Ed25519 key")
            return key.public_bytes_raw()
        raw = bytes.fromhex(text.decode())
        if len(raw) != 32:
            raise ValueError("it has not 32 bytes")
        return raw
    except (OSError, ValueError) as error:
        raise Refused([f"{path} is no public key: {error}"]) from error


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--key", type=Path, action="append", required=True, help="public key (PEM) that you trust")
    parser.add_argument("--policy", default=DEFAULT_POLICY, choices=list(POLICIES))
    parser.add_argument("--episode", type=int, help="show what is certified of this one")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    try:
        done = verify(arguments.dataset, [read_public_key(path) for path in arguments.key], arguments.policy)
        shown = {} if arguments.episode is None else {"episode": episode_of(done, arguments.episode)}
    except Refused as refused:
        answer = {"verified": False, "reasons": list(refused.reasons)}
        text = "\n".join(["refused", *(f"  {reason}" for reason in refused.reasons)])
    else:
        use = done.predicate["commercial_use"]
        answer = {"verified": True, "keyid": done.keyid, "policy": done.policy, "files": len(done.subject)}
        answer |= {"commercial_use": use, **shown}
        text = f"verified: {len(done.subject)} files, signed by {done.keyid[:12]}, admitted by policy {done.policy}\n"
        text += "\n".join([f"commercial use of all inputs: {use}", *(json.dumps(e, indent=1) for e in shown.values())])
    sys.stdout.write((json.dumps(answer, indent=1) if arguments.json else text) + "\n")
    return 0 if answer["verified"] else 1


if __name__ == "__main__":
    sys.exit(main())
