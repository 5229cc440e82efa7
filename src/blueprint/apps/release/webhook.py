"""Tell a training system that something happened, signed as Standard Webhooks 1.0 demands (standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from blueprint.core.errors import BackendError, InputError

SECRET_VARIABLE = "BLUEPRINT_WEBHOOK_SECRET"
PAUSES_S = (0.5, 2.0, 8.0)  # between tries
TIMEOUT_S = 15.0


def tell(url: str, event: str, data: Mapping[str, Any], *, environ: Mapping[str, str] = os.environ) -> None:
    """POST {"type": event, "data": data}; tried again on connection errors and statuses 429 and 5xx.

    Raises InputError without a secret or for an address that is not HTTPS (plain HTTP only to this machine),
    BackendError when nobody takes it.
    """
    secret = _secret(environ)
    parts = urlsplit(url)
    if parts.scheme != "https" and (parts.scheme, parts.hostname) not in (("http", "127.0.0.1"), ("http", "localhost")):
        raise InputError(f"{url} is no HTTPS address", "webhooks leave this machine encrypted only")
    body = json.dumps({"type": event, "data": dict(data)}, sort_keys=True, separators=(",", ":")).encode()
    message = f"msg_{uuid.uuid4().hex}"
    said = ""
    for pause in (0.0, *PAUSES_S):
        time.sleep(pause)
        stamp = str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(secret, message, stamp, body),
        }
        try:
            answer = httpx.post(url, content=body, headers=headers, timeout=TIMEOUT_S)
        except httpx.HTTPError as error:
            said = str(error)
            continue
        if answer.is_success:
            return
        said = f"HTTP {answer.status_code}"
        if answer.status_code != 429 and answer.status_code < 500:
            break
    raise BackendError(f"the webhook was not taken: {said}", f"the data itself was delivered; tell {url} by hand")


def signature(secret: bytes, message: str, stamp: str, body: bytes) -> str:
    """`v1,` and the base64 HMAC-SHA256 of "id.timestamp.body"."""
    signed = b".".join((message.encode(), stamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def _secret(environ: Mapping[str, str]) -> bytes:
    text = environ.get(SECRET_VARIABLE, "")
    try:
        secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        secret = b""
    if len(secret) < 24:
        raise InputError(f"{SECRET_VARIABLE} is no webhook secret", "whsec_ and the base64 of 24 to 64 random bytes")
    return secret
