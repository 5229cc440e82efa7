"""The signed form of a certificate: an in-toto statement over every file of the dataset, in a DSSE envelope."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from blueprint import verify
from blueprint.core.errors import InputError

KEY_VARIABLE = "BLUEPRINT_SIGNING_KEY"  # a private key's file, or gcpkms://...; unset = this user's own key


class Signer(Protocol):
    """A key that signs; Ed25519."""

    @property
    def public_key(self) -> bytes:
        """The raw public key (32 bytes)."""
        ...

    def sign(self, data: bytes) -> bytes: ...


def chosen_signer(environ: Mapping[str, str] = os.environ) -> Signer:
    """What BLUEPRINT_SIGNING_KEY names, else this user's own key. Raises InputError or BackendError."""
    from blueprint.backends.signer_file import SignerFile, own_key
    from blueprint.backends.signer_gcpkms import SCHEME, SignerGcpkms

    named = environ.get(KEY_VARIABLE, "")
    if named.startswith(SCHEME):
        return SignerGcpkms(named, environ=environ)
    if "://" in named:
        raise InputError(f"{KEY_VARIABLE}={named}: no such kind of key", f"a file, or {SCHEME}...")
    return SignerFile(Path(named) if named else own_key())


def envelope(certificate: Mapping[str, Any], signer: Signer) -> bytes:
    """certificate: the content of certificate.json, whose `subject` is file -> SHA-256."""
    statement = {
        "_type": verify.STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": sha}} for name, sha in sorted(certificate["subject"].items())],
        "predicateType": verify.PREDICATE_TYPE,
        "predicate": {name: value for name, value in certificate.items() if name != "subject"},
    }
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    signature = signer.sign(verify.pre_authentication_encoding(verify.PAYLOAD_TYPE, payload))
    content = {
        "payloadType": verify.PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"keyid": verify.key_id(signer.public_key), "sig": base64.b64encode(signature).decode()},
        ],
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def trusted_keys(files: Sequence[Path] | None) -> list[bytes]:
    """The given public keys; without any, this user's own. Raises verify.Refused for a file that is no key."""
    return [verify.read_public_key(file) for file in files] if files else [chosen_signer().public_key]


def public_pem(signer: Signer) -> str:
    """SubjectPublicKeyInfo, PEM."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PublicKey.from_public_bytes(signer.public_key)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def approval(done: verify.Verified) -> dict[str, Any]:
    names = ("scene", "training_suitability", "sensor_source", "physics_backend", "frame_count")
    return {
        "verified": True,
        "keyid": done.keyid,
        "policy": done.policy,
        "files": len(done.subject),
        **{name: done.predicate.get(name) for name in names},
    }


def approval_text(value: dict[str, Any]) -> str:
    return (
        f"[green]✓[/green] {value['files']} files are what was signed by {value['keyid'][:12]}\n"
        f"[green]✓[/green] policy {value['policy']} admits it: {value['training_suitability']}, sensors "
        f"{value['sensor_source']}, physics {value['physics_backend']}, {value['frame_count']} frames"
    )


def refusal(refused: verify.Refused) -> dict[str, Any]:
    return {"verified": False, "reasons": list(refused.reasons)}


def refusal_text(value: dict[str, Any]) -> str:
    from rich.markup import escape

    shown = value["reasons"][:20]
    lines = ["[red]refused[/red]", *(f"  [red]✗[/red] {escape(reason)}" for reason in shown)]
    if len(value["reasons"]) > len(shown):
        lines.append(f"  and {len(value['reasons']) - len(shown)} more")
    if any(reason.startswith("policy ") for reason in value["reasons"]):
        texts = ", ".join(f"{policy.name} ({policy.text})" for policy in verify.POLICIES.values())
        lines.append(f"[cyan]hint:[/cyan] policies: {escape(texts)}")
    return "\n".join(lines)
