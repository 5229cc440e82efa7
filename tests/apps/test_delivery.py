"""Laws of delivery: whole or not at all, refused by policy, resumed where it stopped, written down."""

from __future__ import annotations

import base64
import json
import shutil
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from blueprint import verify
from blueprint.apps.release import delivery, webhook
from blueprint.apps.release.signing import chosen_signer
from blueprint.backends.signer_file import SignerFile
from blueprint.backends.signer_gcpkms import SignerGcpkms
from blueprint.core.errors import BackendError, InputError, IntegrityError
from toy_signed import CONTENT, POLICY, sign


def hand_over(root: Path, target: str | Path, key: SignerFile, audit: Path, policy: str = POLICY) -> delivery.Delivery:
    return delivery.deliver(root, str(target), policy, [key.public_key], audit=audit)


def lines(audit: Path) -> list[dict]:
    return [json.loads(line) for line in audit.read_text().splitlines()]


def test_what_arrives_verifies_by_itself(signed: Path, signer: SignerFile, tmp_path: Path) -> None:
    done = hand_over(signed, tmp_path / "there", signer, tmp_path / "audit")
    assert (done.files, done.sent) == (3, 3)
    shutil.rmtree(signed)
    assert verify.verify(tmp_path / "there", [signer.public_key], POLICY).keyid == done.keyid
    assert [line["outcome"] for line in lines(tmp_path / "audit")] == ["delivered"]


def test_policy_and_tampering_stop_it_before_anything_is_written(
    signed: Path,
    signer: SignerFile,
    tmp_path: Path,
) -> None:
    with pytest.raises(IntegrityError, match="does not admit sensors"):
        hand_over(signed, tmp_path / "there", signer, tmp_path / "audit", "production")
    (signed / "data/0.parquet").write_bytes(b"swapped")
    with pytest.raises(IntegrityError, match="was changed"):
        hand_over(signed, tmp_path / "there", signer, tmp_path / "audit")
    assert not (tmp_path / "there").exists() and not list(tmp_path.glob(".there*"))
    assert [line["outcome"] for line in lines(tmp_path / "audit")] == ["refused", "refused"]


def test_a_delivery_that_was_cut_off_goes_on(
    signed: Path,
    signer: SignerFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put, sent = delivery._Store.put, []

    def fails(self: delivery._Store, source: Path, name: str) -> None:
        if len(sent) == 2:
            raise OSError("the line is cut")
        sent.append(name)
        put(self, source, name)

    monkeypatch.setattr(delivery._Store, "put", fails)
    with pytest.raises(BackendError, match="the line is cut"):
        hand_over(signed, tmp_path / "there", signer, tmp_path / "audit")
    assert not (tmp_path / "there").exists()
    monkeypatch.setattr(delivery._Store, "put", put)
    assert hand_over(signed, tmp_path / "there", signer, tmp_path / "audit").sent == 1
    assert hand_over(signed, tmp_path / "there", signer, tmp_path / "audit").sent == 0
    assert [line["outcome"] for line in lines(tmp_path / "audit")] == ["failed", "delivered", "delivered"]


def test_nothing_of_anybody_else_is_touched(signed: Path, signer: SignerFile, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"holds other files: thesis.tex"):
        hand_over(signed, tmp_path / "there", signer, tmp_path / "audit")
    hand_over(signed, tmp_path / "here", signer, tmp_path / "audit")
    (signed / "data/0.parquet").write_bytes(b"a newer one")
    sign(signed, signer)
    with pytest.raises(InputError, match="another dataset"):
        hand_over(signed, tmp_path / "here", signer, tmp_path / "audit")


def test_object_storage_by_its_address(signed: Path, signer: SignerFile, tmp_path: Path) -> None:
    """fsspec's own memory:// stands for a bucket: no folders, no renames."""
    done = hand_over(signed, "memory://bucket/set", signer, tmp_path / "audit")
    again = hand_over(signed, "memory://bucket/set", signer, tmp_path / "audit")
    assert (done.sent, again.sent) == (3, 0)
    with pytest.raises(BackendError, match="cannot reach") as caught:
        hand_over(signed, "gopher://bucket", signer, tmp_path / "audit")
    assert "s3" in caught.value.hint


# ------------------------------------------------------------------ servers of others, as their documents describe them


class Server:
    """Answers as told and keeps what was asked."""

    def __init__(self, answer: Callable[[str, str, bytes, int], tuple[int, bytes]]) -> None:
        self.asked: list[tuple[str, str, dict, bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.asked.append((self.command, self.path, dict(self.headers), body))
                status, content = answer(self.command, self.path, body, len(outer.asked))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_webhooks_are_signed_by_the_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the specification's reference libraries, and a receiver that fails twice."""
    assert (
        webhook.signature(
            base64.b64decode(SECRET[6:]), "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}'
        )
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )
    monkeypatch.setattr(webhook, "PAUSES_S", (0.0, 0.0, 0.0))
    server = Server(lambda method, path, body, count: (503 if count < 3 else 204, b""))
    webhook.tell(server.url, "dataset.delivered", {"files": 3}, environ={webhook.SECRET_VARIABLE: SECRET})
    assert len(server.asked) == 3 and len({headers["webhook-id"] for _, _, headers, _ in server.asked}) == 1
    _, _, headers, body = server.asked[-1]
    again = webhook.signature(base64.b64decode(SECRET[6:]), headers["webhook-id"], headers["webhook-timestamp"], body)
    assert headers["webhook-signature"] == again and json.loads(body)["data"] == {"files": 3}
    refuses = Server(lambda *_: (401, b""))
    with pytest.raises(BackendError, match="HTTP 401"):
        webhook.tell(refuses.url, "x", {}, environ={webhook.SECRET_VARIABLE: SECRET})
    assert len(refuses.asked) == 1
    for url, secret in (("http://127.0.0.1.evil.example", SECRET), ("ftp://a", SECRET), (server.url, "")):
        with pytest.raises(InputError):
            webhook.tell(url, "x", {}, environ={webhook.SECRET_VARIABLE: secret})


def test_a_key_in_cloud_kms_signs_without_leaving_it(signed: Path, signer: SignerFile) -> None:
    from blueprint.apps.release.signing import public_pem

    def answer(method: str, path: str, body: bytes, count: int) -> tuple[int, bytes]:
        if path.endswith("/publicKey"):
            return 200, json.dumps({"pem": public_pem(signer), "algorithm": "EC_SIGN_ED25519"}).encode()
        data = base64.b64decode(json.loads(body)["data"])
        signed = signer.sign(data if count < 4 else data + b"!")
        return 200, json.dumps({"signature": base64.b64encode(signed).decode()}).encode()

    server, name = Server(answer), "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
    token = {"GOOGLE_OAUTH_ACCESS_TOKEN": "t"}
    remote = SignerGcpkms(f"gcpkms://{name}", environ=token, service=f"{server.url}/v1")
    sign(signed, remote)
    verify.verify(signed, [signer.public_key], POLICY)
    assert [(m, p) for m, p, _, _ in server.asked] == [
        ("GET", f"/v1/{name}/publicKey"),
        ("POST", f"/v1/{name}:asymmetricSign"),
    ]
    assert server.asked[0][2]["Authorization"] == "Bearer t"
    remote.sign(b"once more")
    with pytest.raises(BackendError, match="does not hold"):
        remote.sign(b"damaged")
    with pytest.raises(BackendError, match="access token"):
        SignerGcpkms(f"gcpkms://{name}", environ={})
    assert httpx.get(f"{server.url}/v1/x/publicKey").status_code == 200


def test_the_users_own_key_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLUEPRINT_HOME", str(tmp_path))
    monkeypatch.delenv("BLUEPRINT_SIGNING_KEY", raising=False)
    first = chosen_signer().public_key
    assert chosen_signer().public_key == first == verify.read_public_key(tmp_path / "keys/signing.pub")
    assert (tmp_path / "keys/signing.pem").stat().st_mode & 0o077 == 0
    with pytest.raises(InputError, match="no such kind of key"):
        chosen_signer({"BLUEPRINT_SIGNING_KEY": "vault://x"})
    assert CONTENT["frame_count"] == 100
