"""An Ed25519 key in a file (PEM, PKCS #8), readable by its owner alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from blueprint.core.errors import BackendError, InputError
from blueprint.core.files import write_atomic
from blueprint.core.report import log

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OWN_KEY = "signing.pem"


class SignerFile:
    """See `Signer`."""

    def __init__(self, path: Path) -> None:
        """Raises InputError when the file is no private Ed25519 key."""
        self._key = _read(path)

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def keys_folder() -> Path:
    """Where this user's keys lie: below `$BLUEPRINT_HOME`, or `~/.local/share/blueprint`."""
    return Path(os.environ.get("BLUEPRINT_HOME") or Path.home() / ".local" / "share" / "blueprint") / "keys"


def own_key() -> Path:
    """This user's signing key, made at its first use; its public half lies beside it, to be given to those who verify.

    Raises BackendError when it cannot be written.
    """
    path = keys_folder() / OWN_KEY
    if not path.is_file():
        create_key(path)
        log(f"made a signing key; give {path.with_suffix('.pub')} to those who verify your data")
    return path


def create_key(path: Path) -> None:
    """A new key pair: `path` and, beside it, the public `.pub`. Raises BackendError when there is one already."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if path.exists():
        raise BackendError(f"{path} exists", "a key that is overwritten cannot sign again: choose another name")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(private)
        write_atomic(path.with_suffix(".pub"), public)
    except OSError as error:
        raise BackendError(
            f"cannot write a key: {error}", "set BLUEPRINT_HOME to a folder that you may write"
        ) from error


def _read(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is no private key: {error}", "make one: blueprint keys new FILE") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is no Ed25519 key", "make one: blueprint keys new FILE")
    return key
