"""The signed form of a certificate: an in-toto statement over every file of the dataset, in a DSSE envelope."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from blueprint import __version__, verify
from blueprint.core.errors import InputError
from blueprint.core.files import files_below, write_atomic

COPIED = "development"  # the policy by which a dataset must verify for a copy of it to be certified
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
        "signatures": [{"keyid": verify.key_id(signer.public_key), "sig": base64.b64encode(signature).decode()}],
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def sign_copy(source: Path, copy: Path, target: str, keys: Sequence[Path] | None = None) -> str:
    """Certify the copy of a dataset in another format: the source's certificate over the copy's files, with
    `derived_from`, signed by the user's own key. keys: of whom the source may be signed, as in `trusted_keys`.

    Returns why the copy stays unsigned: its source does not verify at this moment, or is made up. "" when it is signed.
    """
    try:
        original = verify.envelope_of(source)
        done = verify.verify(source, trusted_keys(keys), COPIED)
    except verify.Refused as refused:
        return "; ".join(refused.reasons[:3])
    origin: dict[str, Any] = {"envelope_sha256": verify.file_sha256(original), "keyid": done.keyid}
    origin |= {"tool": f"blueprint convert {__version__}", "target": target}
    if "derived_from" in done.predicate:
        origin["derived_from"] = done.predicate["derived_from"]
    subject = {name: verify.file_sha256(copy / name) for name in files_below(copy)}
    content = {**done.predicate, "derived_from": origin, "subject": subject}
    write_atomic(copy / verify.ENVELOPE, envelope(content, chosen_signer()))
    return ""


def trusted_keys(files: Sequence[Path] | None) -> list[bytes]:
    """The given public keys; without any, this user's own. Raises verify.Refused for a file that is no key."""
    return [verify.read_public_key(file) for file in files] if files else [chosen_signer().public_key]


def public_pem(signer: Signer) -> str:
    """SubjectPublicKeyInfo, PEM."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PublicKey.from_public_bytes(signer.public_key)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def examined(dataset: Path, keys: Sequence[Path] | None, policy: str, episode: int | None = None) -> dict[str, Any]:
    """What `blueprint verify` says; keys: see `trusted_keys`; episode: one whose certificate is shown."""
    try:
        return approval(verify.verify(dataset, trusted_keys(keys), policy), episode)
    except verify.Refused as refused:
        return {"verified": False, "reasons": list(refused.reasons)}


def approval(done: verify.Verified, episode: int | None = None) -> dict[str, Any]:
    names = ("scene", "contents", "training_suitability", "sensor_source", "physics_backend", "frame_count")
    names += ("commercial_use", "derived_from")
    shown = {} if episode is None else {"episode": verify.episode_of(done, episode)}
    return {
        "verified": True,
        "keyid": done.keyid,
        "policy": done.policy,
        "files": len(done.subject),
        **{name: done.predicate.get(name) for name in names},
        "not_for_sure": [f"{i['what']} {i['name']}" for i in done.predicate["inputs"] if i["commercial"] != "yes"],
        **shown,
    }


def text(value: dict[str, Any]) -> str:
    from rich.markup import escape

    if not value["verified"]:
        return _refusal(value["reasons"])
    origin = value["derived_from"]
    doubts = f" ({', '.join(value['not_for_sure'])})" if value["not_for_sure"] else ""
    lines = [
        f"[green]✓[/green] {value['files']} files are what was signed by {value['keyid'][:12]}",
        f"[green]✓[/green] policy {value['policy']} admits these {value['contents']}: {value['training_suitability']}, "
        f"sensors {value['sensor_source']}, physics {value['physics_backend']}, {value['frame_count']} frames",
        f"commercial use of all that they were made from: {value['commercial_use']}{escape(doubts)}",
        *([f"a copy ({origin['target']}) of what {origin['keyid'][:12]} signed"] if origin else []),
        *([escape(json.dumps(value["episode"], indent=1))] if "episode" in value else []),
    ]
    return "\n".join(lines)


def _refusal(reasons: Sequence[str]) -> str:
    from rich.markup import escape

    lines = ["[red]refused[/red]", *(f"  [red]✗[/red] {escape(reason)}" for reason in reasons[:20])]
    if len(reasons) > 20:
        lines.append(f"  and {len(reasons) - 20} more")
    if any(reason.startswith("policy ") for reason in reasons):
        texts = ", ".join(f"{policy.name} ({policy.text})" for policy in verify.POLICIES.values())
        lines.append(f"[cyan]hint:[/cyan] policies: {escape(texts)}")
    return "\n".join(lines)
