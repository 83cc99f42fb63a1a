"""Admissions for tests: issued, edited, let through."""

import base64
import json
from collections.abc import Callable
from datetime import date
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gate import decide
from gate.policy.rules import Policy
from gate.policy.waivers import Waiver
from gate.trust.admission import admit
from gate.trust.check import Admitted, check
from gate.trust.require import Grounds
from gate.values import Evidence, Verdict
from tests.builders import BACKBONE, OTHER_BACKBONE, evidence, measurement, policy, waiver

TODAY = date(2026, 11, 21)

STRICT = policy()

LAX = policy(allow_unsigned=True)


def key_pair(private: Any) -> tuple[bytes, bytes]:
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


KEY, PUBLIC = key_pair(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))

EVIDENCE = evidence(measurement())

FILES = {".": BACKBONE.removeprefix("sha256:")}

OTHER_FILES = {".": OTHER_BACKBONE.removeprefix("sha256:")}

WAIVER = waiver()


def verdict(judge: Policy = STRICT, low: float = 0.85, waivers: tuple[Waiver, ...] = ()) -> Verdict:
    return decide(judge, [evidence(measurement(low))], TODAY, waivers)


def issued(judge: Policy = STRICT, key: bytes | None = KEY) -> bytes:
    return admitted_on([EVIDENCE], judge=judge, key=key)


def admitted_on(
    found: list[Evidence],
    *,
    judged: Verdict | None = None,
    judge: Policy = STRICT,
    waivers: tuple[Waiver, ...] = (),
    files: dict[str, str] = FILES,
    today: date = TODAY,
    key: bytes | None = KEY,
) -> bytes:
    """Admit what was decided on this evidence, or another verdict in its place."""
    judged = judged or decide(judge, found, today, waivers)
    return admit(judged, Grounds(judge, found, waivers), "model.onnx", files, today, key).encode()


def let_through(
    admission: bytes,
    files: dict[str, str] = FILES,
    today: date = TODAY,
    policy: Policy | None = STRICT,
    key: bytes | None = PUBLIC,
    max_age: int | None = None,
) -> Admitted:
    return check(admission, files, today, policy, [] if key is None else [key], max_age)


def written(envelope: Any) -> bytes:
    """As admit lays it out."""
    return (json.dumps(envelope, indent=2) + "\n").encode()


def edited(admission: bytes, edit: Callable[[Any], Any]) -> bytes:
    """Change the statement inside an envelope, and leave its signatures."""
    envelope = json.loads(admission)
    statement = json.loads(base64.b64decode(envelope["payload"]))
    edit(statement)
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    return written(envelope)


def decoded(admission: bytes) -> tuple[bytes, str, str, bytes]:
    """What an envelope says: the signed bytes and their type, the key and its signature."""
    envelope = json.loads(admission)
    (signature,) = envelope["signatures"]
    return (
        base64.b64decode(envelope["payload"]),
        envelope["payloadType"],
        signature["keyid"],
        base64.b64decode(signature["sig"]),
    )


SIGNED = issued()
