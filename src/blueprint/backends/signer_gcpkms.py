"""An Ed25519 key in Google Cloud KMS (algorithm EC_SIGN_ED25519), over its REST interface; the key never leaves it.

`gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1`, with an OAuth 2 access token in
GOOGLE_OAUTH_ACCESS_TOKEN (`gcloud auth print-access-token`).
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from typing import Any

import httpx

from blueprint.core.errors import BackendError

SCHEME = "gcpkms://"
SERVICE = "https://cloudkms.googleapis.com/v1"
TIMEOUT_S = 30.0


class SignerGcpkms:
    """See `Signer`."""

    def __init__(self, reference: str, *, environ: Mapping[str, str] = os.environ, service: str = SERVICE) -> None:
        """Raises BackendError without a token, or when the service refuses."""
        token = environ.get("GOOGLE_OAUTH_ACCESS_TOKEN", "")
        if not token:
            raise BackendError(
                "Cloud KMS needs an access token", "export GOOGLE_OAUTH_ACCESS_TOKEN=$(gcloud auth print-access-token)"
            )
        self._url = f"{service}/{reference.removeprefix(SCHEME)}"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._public = _raw_public_key(self._ask("GET", f"{self._url}/publicKey")["pem"])

    @property
    def public_key(self) -> bytes:
        return self._public

    def sign(self, data: bytes) -> bytes:
        """Raises BackendError when the service refuses, or signs something else."""
        answer = self._ask("POST", f"{self._url}:asymmetricSign", {"data": base64.b64encode(data).decode()})
        signature = base64.b64decode(answer["signature"])
        _require_valid(self._public, signature, data)
        return signature

    def _ask(self, method: str, url: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        try:
            answer = httpx.request(method, url, json=body, headers=self._headers, timeout=TIMEOUT_S)
            answer.raise_for_status()
            content = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise BackendError(
                f"Cloud KMS: {error}", "check the key's name, its algorithm EC_SIGN_ED25519 and your permissions"
            ) from error
        if not isinstance(content, dict) or not ({"pem", "signature"} & set(content)):
            raise BackendError("Cloud KMS answered something else", "is the address that of a key version?")
        return content


def _raw_public_key(pem: str) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(pem.encode())
    if not isinstance(key, Ed25519PublicKey):
        raise BackendError("the KMS key is no Ed25519 key", "create one with the algorithm EC_SIGN_ED25519")
    return key.public_bytes_raw()


def _require_valid(public: bytes, signature: bytes, data: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except InvalidSignature as error:
        raise BackendError(
            "Cloud KMS returned a signature that does not hold", "try again; nothing was signed"
        ) from error
