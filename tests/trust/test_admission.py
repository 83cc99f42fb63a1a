"""Each step of a check, and the attack that it stops."""

import base64
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from gate import decide
from gate.errors import AdmissionError
from gate.files import digest_of_files
from gate.policy.rules import Policy
from gate.policy.waivers import Waiver
from gate.trust.admission import Admitted, Grounds, admit, check
from gate.values import Evidence, Finding, Verdict, digest_of, last_day
from tests.builders import BACKBONE, OTHER_BACKBONE, evidence, measurement, policy, rule

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
WAIVER = Waiver(
    id="W",
    rule="clean_accuracy.accuracy",
    backbone=BACKBONE,
    reason="known",
    owner="ml-team",
    expires=date(2026, 12, 31),
)


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


@pytest.mark.parametrize(
    "private", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())]
)
def test_what_was_admitted_is_let_through(private: Any) -> None:
    key, public = key_pair(private)

    found = let_through(issued(key=key), FILES, TODAY, STRICT, public)

    assert found.verdict == verdict()
    assert let_through(issued(key=key), FILES, TODAY, None, public).files == FILES


# a digest depends on the order of keys, so a payload with sorted keys could not be decided again
def test_evidence_comes_back_with_its_settings_in_their_order() -> None:
    found = [
        Evidence.model_validate(
            EVIDENCE.model_dump() | {"settings": {"z": [1, {"y": 2, "b": 3}], "a": None}}
        )
    ]

    assert let_through(admitted_on(found)).verdict.decision == "accept"


def test_one_of_several_keys_is_enough() -> None:
    _, stranger = key_pair(ed25519.Ed25519PrivateKey.generate())

    assert check(issued(), FILES, TODAY, STRICT, [stranger, PUBLIC]).verdict == verdict()


@pytest.mark.parametrize(
    "private", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())]
)
def test_a_key_of_another_kind_is_refused(private: Any) -> None:
    key, public = key_pair(private)

    with pytest.raises(AdmissionError, match=r"--key is of .*; give an Ed25519 or ECDSA P-256 key"):
        issued(key=key)
    with pytest.raises(AdmissionError, match="--public-key is of "):
        let_through(issued(), key=public)


def test_an_admission_names_its_artefact_its_policy_and_its_evidence() -> None:
    statement = json.loads(decoded(issued())[0])

    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "model.onnx", "digest": {"sha256": "ab" * 32}}]
    predicate = statement["predicate"]
    assert predicate["result"] == "PASSED"
    assert predicate["passedTests"] == ["clean_accuracy.accuracy"]
    assert predicate["issued"] == "2026-11-21"
    assert predicate["resources"] == [{"name": ".", "digest": "ab" * 32, "algorithm": "sha256"}]
    listed = {
        item["name"]: f"sha256:{item['digest']['sha256']}" for item in predicate["configuration"]
    }
    assert listed == {
        "policy test": STRICT.identity.digest,
        "verdict": digest_of(verdict()),
        "evidence clean_accuracy": digest_of(EVIDENCE),
        "data test": "sha256:" + "01" * 32,
    }
    assert Evidence.model_validate(predicate["evidence"][0]) == EVIDENCE


def test_the_signature_is_over_the_pre_authentication_encoding_of_dsse() -> None:
    # https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
    payload, kind, _, signature = decoded(issued())
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)

    ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().verify(
        signature, signed
    )


# a rule that failed and only warns is no passed test; in-toto has warnedTests: gate/admission.py
def test_a_failed_warning_is_not_listed_as_passed() -> None:
    judged = policy(rule(), rule(at_least=0.99, severity="warn", name="warns"))

    statement = json.loads(decoded(issued(judged))[0])

    assert statement["predicate"]["passedTests"] == ["clean_accuracy.accuracy"]


def test_an_unsigned_admission_is_let_through_only_where_the_policy_allows_it() -> None:
    unsigned = issued(LAX, key=None)

    assert let_through(unsigned, FILES, TODAY, LAX, None).verdict.decision == "accept"
    with pytest.raises(AdmissionError, match="not signed, and nothing says whom to trust"):
        let_through(unsigned, FILES, TODAY, None, None)
    with pytest.raises(AdmissionError, match="no valid signature"):
        let_through(unsigned, FILES, TODAY, LAX, PUBLIC)
    with pytest.raises(AdmissionError, match="wants a signature: pass --key"):
        issued(STRICT, key=None)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"payload": 1, "payloadType": "x", "signatures": []}', b"\xff"]
)
def test_1_what_is_no_envelope_is_refused(content: bytes) -> None:
    with pytest.raises(AdmissionError, match="not a DSSE envelope"):
        let_through(content, FILES, TODAY, LAX, None)


def test_1_an_envelope_of_another_payload_type_is_refused() -> None:
    envelope = {**json.loads(issued(LAX, None)), "payloadType": "application/json"}

    with pytest.raises(AdmissionError, match="the envelope holds 'application/json'"):
        let_through(written(envelope), FILES, TODAY, LAX, None)


def test_1_a_second_signature_is_refused() -> None:
    private, public = key_pair(ed25519.Ed25519PrivateKey.generate())
    both = json.loads(issued())
    both["signatures"] += json.loads(issued(key=private))["signatures"]

    for keys in ([PUBLIC], [public, PUBLIC]):
        with pytest.raises(AdmissionError, match="has 2 signatures; admit gives it at most one"):
            check(written(both), FILES, TODAY, STRICT, keys)


REWRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "laid out anew": lambda a: json.dumps(json.loads(a)).encode(),
    "a key twice": lambda a: a.replace(b"{", b'{"payload": "",', 1),
    "an unknown key": lambda a: written({**json.loads(a), "note": 1}),
    "an unknown key of the signature": lambda a: a.replace(
        b'"\n    }\n  ]', b'",\n      "note": 1\n    }\n  ]'
    ),
    "bits that base64 spares": lambda a: a.replace(
        sig := json.loads(a)["signatures"][0]["sig"].encode(),
        sig[:-3] + bytes([sig[-3] + 1]) + b"==",
    ),
    "a blank within base64": lambda a: a.replace(b'"payload": "', b'"payload": " '),
    "a byte behind it": lambda a: a + b"\n",
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_1_what_says_the_same_and_is_written_otherwise_is_refused(name: str) -> None:
    changed = REWRITTEN[name](issued())
    assert changed != issued()

    with pytest.raises(AdmissionError, match=r"not written as admit writes it|not a DSSE envelope"):
        let_through(changed)


# a statement by another tool of the same key, or one that is unsigned: gate/admission.py, check
def test_1_a_digest_that_is_no_text_is_refused() -> None:
    forged = edited(issued(LAX, None), lambda s: s["subject"][0]["digest"].update(sha256=5))

    with pytest.raises(AdmissionError, match="the admission is for sha256:5, and this artefact is"):
        let_through(forged, FILES, TODAY, LAX, None)


# json.loads raises RecursionError, which is no ValueError: gate/admission.py, _envelope
def test_1_json_nested_without_end_is_no_envelope() -> None:
    with pytest.raises(AdmissionError, match="not a DSSE envelope"):
        let_through(b"[" * 100_000, FILES, TODAY, LAX, None)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda s: s.pop("subject"), "no in-toto statement"),
        (lambda s: s["subject"].append(s["subject"][0]), "2 subjects"),
        (lambda s: s["predicate"].update(result="FAILED"), "not sound: result"),
        (lambda s: s.update(predicateType="https://other"), "https://other"),
        (lambda s: s.update(_type="https://other"), "https://other"),
        (lambda s: s["subject"].clear(), "0 subjects"),
        (lambda s: s["predicate"].pop("verdict"), "not sound: verdict"),
        (lambda s: s["predicate"].pop("result"), "not sound: result"),
        (lambda s: s.update(predicate=[]), "not sound"),
    ],
)
def test_1_what_is_no_admission_statement_is_refused(edit: Any, says: str) -> None:
    with pytest.raises(AdmissionError, match=says):
        let_through(edited(issued(LAX, None), edit), FILES, TODAY, LAX, None)


def test_2_a_signature_by_another_key_is_refused() -> None:
    _, stranger = key_pair(ed25519.Ed25519PrivateKey.generate())

    with pytest.raises(AdmissionError, match="no valid signature by a given public key"):
        let_through(issued(), FILES, TODAY, STRICT, stranger)


def test_2_a_changed_statement_is_refused() -> None:
    forged = edited(issued(), lambda s: s["predicate"].update(note="harmless"))

    with pytest.raises(AdmissionError, match="it was changed, or signed by somebody else"):
        let_through(forged, FILES, TODAY, STRICT, PUBLIC)


def test_2_a_signature_taken_off_is_refused() -> None:
    stripped = written({**json.loads(issued()), "signatures": []})

    with pytest.raises(AdmissionError, match="no valid signature by a given public key"):
        let_through(stripped, FILES, TODAY, STRICT, PUBLIC)
    with pytest.raises(AdmissionError, match="is not signed, and nothing says whom to trust"):
        let_through(stripped, FILES, TODAY, STRICT, None)


def test_2_a_signature_of_another_statement_is_refused() -> None:
    other = json.loads(issued(policy(rule(at_least=0.5))))
    mixed = {**json.loads(issued()), "signatures": other["signatures"]}

    with pytest.raises(AdmissionError, match="no valid signature by a given public key"):
        let_through(written(mixed), FILES, TODAY, STRICT, PUBLIC)


def test_2_a_stranger_who_takes_the_key_id_of_another_is_refused() -> None:
    private, _ = key_pair(ed25519.Ed25519PrivateKey.generate())
    forged = json.loads(issued(key=private))
    forged["signatures"][0]["keyid"] = decoded(issued())[2]

    with pytest.raises(AdmissionError, match="no valid signature by a given public key"):
        let_through(written(forged), FILES, TODAY, STRICT, PUBLIC)


def test_2_the_signature_is_judged_before_anything_in_the_statement() -> None:
    forged = edited(issued(), lambda s: s.clear())

    with pytest.raises(AdmissionError, match="no valid signature"):
        let_through(forged, OTHER_FILES, TODAY, STRICT, PUBLIC)


def test_2_a_signed_admission_without_a_key_to_trust_is_refused() -> None:
    with pytest.raises(AdmissionError, match="is signed, and nothing says whom to trust"):
        let_through(issued(LAX), FILES, TODAY, LAX, None)


def test_3_another_artefact_is_refused() -> None:
    with pytest.raises(AdmissionError, match="changed or swapped after it was admitted"):
        let_through(issued(), OTHER_FILES, TODAY, STRICT, PUBLIC)


@pytest.mark.parametrize(
    "edit",
    [
        lambda v: v["findings"][0]["measurement"].update(low=0.1),
        lambda v: v["findings"].clear(),
    ],
)
def test_4_a_verdict_that_does_not_follow_is_refused(edit: Any) -> None:
    forged = edited(issued(LAX, None), lambda s: edit(s["predicate"]["verdict"]))

    with pytest.raises(AdmissionError, match="not sound"):
        let_through(forged, FILES, TODAY, LAX, None)


def test_4_a_verdict_on_another_backbone_is_refused() -> None:
    forged = edited(
        issued(LAX, None), lambda s: s["predicate"]["verdict"].update(backbone=OTHER_BACKBONE)
    )

    with pytest.raises(AdmissionError, match="give the file that was judged"):
        let_through(forged, FILES, TODAY, LAX, None)
    with pytest.raises(AdmissionError, match="give the file that was judged"):
        admitted_on([EVIDENCE], files=OTHER_FILES)


def test_4_an_inconclusive_verdict_is_never_admitted() -> None:
    with pytest.raises(AdmissionError, match="'inconclusive', and only accept admits"):
        admitted_on([evidence(measurement(0.5))])


def test_4_a_rejection_is_never_admitted() -> None:
    failing = evidence(measurement(0.1, 0.2, 0.3))
    rejected = decide(LAX, [failing], TODAY)

    with pytest.raises(AdmissionError, match="'reject', and only accept admits"):
        admitted_on([failing], judge=LAX, key=None)
    forged = edited(
        issued(LAX, None),
        lambda s: s["predicate"].update(verdict=json.loads(rejected.model_dump_json())),
    )
    with pytest.raises(AdmissionError, match="'reject', and only accept admits"):
        let_through(forged, FILES, TODAY, LAX, None)


def test_5_an_older_policy_is_refused() -> None:
    tightened = policy(rule(at_least=0.81))

    with pytest.raises(AdmissionError, match="decide again under the current policy"):
        let_through(issued(), FILES, TODAY, tightened, PUBLIC)
    with pytest.raises(AdmissionError, match="decide again under the current policy"):
        admitted_on([EVIDENCE], judged=verdict(), judge=tightened)


def test_5_a_policy_that_differs_in_a_word_is_another() -> None:
    with pytest.raises(AdmissionError, match="not under the given test v2"):
        let_through(issued(), FILES, TODAY, policy(version=2), PUBLIC)


def test_6_an_admission_ends_with_the_waiver_that_it_leans_on() -> None:
    weak = [evidence(measurement(0.5))]
    waived = decide(STRICT, weak, TODAY, [WAIVER])
    admission = admitted_on(weak, waivers=(WAIVER,))

    assert let_through(admission, today=date(2026, 12, 31)).verdict == waived
    with pytest.raises(AdmissionError, match="leans on waiver W, which ended on 2026-12-31"):
        let_through(admission, today=date(2027, 1, 1))
    with pytest.raises(AdmissionError, match="leans on waiver W"):
        admitted_on(weak, judged=waived, waivers=(WAIVER,), today=date(2027, 1, 1))


def test_6_the_end_of_a_waiver_on_a_warning_ends_no_admission() -> None:
    judge = policy(rule(), rule(at_least=0.99, severity="warn", name="warns"))
    waiver = WAIVER.model_copy(update={"rule": "warns"})
    admission = admitted_on([EVIDENCE], judge=judge, waivers=(waiver,))

    found = let_through(admission, today=date(2027, 1, 1), policy=judge)

    assert found.verdict.decision == "accept"


def test_7_an_admission_may_be_too_old() -> None:
    later = date(2026, 12, 21)

    assert let_through(issued(), today=later, max_age=30).verdict == verdict()
    assert let_through(issued(), today=date(2036, 11, 21)).verdict == verdict()
    with pytest.raises(AdmissionError, match="30 days ago, and at most 29 are allowed"):
        let_through(issued(), today=later, max_age=29)


def test_7_an_admission_from_the_future_is_refused() -> None:
    assert let_through(issued(), today=date(2026, 11, 20), max_age=0).verdict == verdict()
    with pytest.raises(AdmissionError, match="set this machine's clock"):
        let_through(issued(), today=date(2026, 11, 19))


def forgery(judged: Verdict, *findings: Finding) -> Verdict:
    """A verdict with other findings, as an editor of its file would make it."""
    return Verdict(
        decision="accept",
        backbone=judged.backbone,
        policy=judged.policy,
        evidence=judged.evidence,
        findings=findings or judged.findings,
        valid_until=last_day(findings or judged.findings),
    )


def test_4_a_verdict_that_leaves_out_a_finding_is_refused() -> None:
    judge = policy(rule(), rule(at_least=0.99, name="strict"))
    rejected = decide(judge, [evidence(measurement())], TODAY)
    kind = forgery(rejected, *(f for f in rejected.findings if not f.blocks))

    with pytest.raises(AdmissionError, match="decided again it is 'reject' with 2 findings, where"):
        admitted_on([EVIDENCE], judged=kind, judge=judge)


def test_4_a_finding_waived_by_nobody_is_refused() -> None:
    weak = [evidence(measurement(0.5))]
    waived = decide(STRICT, weak, TODAY, [WAIVER])

    with pytest.raises(AdmissionError, match="waiver W is not among the given ones"):
        admitted_on(weak, judged=waived)


def test_4_a_verdict_on_other_numbers_is_refused() -> None:
    with pytest.raises(AdmissionError, match="on other evidence of clean_accuracy"):
        admitted_on([evidence(measurement(0.86))], judged=verdict())


def test_4_evidence_of_another_backbone_is_refused() -> None:
    with pytest.raises(AdmissionError, match="other evidence of clean_accuracy"):
        admitted_on([evidence(measurement(), backbone=OTHER_BACKBONE)], judged=verdict())
    with pytest.raises(AdmissionError, match=r"cannot be decided again: .*2 backbones"):
        other = evidence(measurement(), probe="label_prior", backbone=OTHER_BACKBONE)
        admitted_on([EVIDENCE, other], judged=verdict())


def test_4_a_file_that_reads_like_a_folders_manifest_is_not_that_folder() -> None:
    folder = {"a.bin": "0" * 64}
    digest = digest_of_files(folder)  # also of a file with the line "000...  a.bin" in it
    admission = admitted_on([evidence(measurement(), backbone=digest)], files=folder)

    with pytest.raises(AdmissionError, match=r"resources .* are not those of the verdict"):
        let_through(admission, {".": digest.removeprefix("sha256:")})


EDITS: dict[str, tuple[Callable[[Any], object], str]] = {
    "evidence": (lambda p: p["evidence"][0]["measurements"][0].update(n=99), "other evidence"),
    "seed": (lambda p: p["evidence"][0].update(seed=1), "other evidence"),
    "no evidence": (lambda p: p["evidence"].clear(), "cannot be decided again"),
    "bound": (lambda p: p["policy"]["rules"][0].update(at_least=0.1), "not under the given"),
    "reason": (lambda p: p["verdict"]["findings"][0].update(why="fine"), "decided again"),
    "test name": (lambda p: p["passedTests"].append("all"), "are not those of the verdict"),
    "digest": (lambda p: p["configuration"].pop(), "are not those of the verdict"),
    "resource": (lambda p: p["resources"].clear(), "are not those of the verdict"),
    "unknown": (lambda p: p.update(note="x"), "are not those of the verdict"),
    "issued": (lambda p: p.update(issued="soon"), "not sound: issued"),
    "version": (lambda p: p.update(gate=1), "not sound: gate"),
}


# even where nothing is signed: each part of a statement is held against the others
@pytest.mark.parametrize("name", EDITS)
def test_4_an_edited_part_of_a_statement_does_not_fit_the_rest(name: str) -> None:
    edit, says = EDITS[name]
    forged = edited(issued(LAX, None), lambda s: edit(s["predicate"]))

    with pytest.raises(AdmissionError, match=says):
        let_through(forged, policy=LAX, key=None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"_type"', b'{"_type": 1, "_type"'),
        (b'"seed": 0', b'"seed": false'),
        (b'"seed": 0', b'"seed": 1, "seed": 0'),
        (b'"n": 100', b'"n": 100.0'),
        (b": ", b":"),
    ],
)
def test_4_a_statement_that_says_the_same_in_other_bytes_is_refused(old: bytes, new: bytes) -> None:
    envelope = json.loads(issued(LAX, None))
    payload = base64.b64decode(envelope["payload"])
    assert old in payload
    envelope["payload"] = base64.b64encode(payload.replace(old, new)).decode()

    with pytest.raises(AdmissionError, match="are not those of the verdict"):
        let_through(written(envelope), policy=LAX, key=None)


def test_4_a_waiver_longer_than_the_carried_policy_lets_any_last_is_refused() -> None:
    short = policy(allow_unsigned=True, waivers={"longest_days": 60})
    true = admitted_on([evidence(measurement(0.5))], judge=short, waivers=(WAIVER,), key=None)
    early = edited(true, lambda s: s["predicate"].update(issued="2026-10-01"))

    assert let_through(true, policy=short, key=None)
    with pytest.raises(AdmissionError, match=r"cannot be decided again: .* none last longer"):
        let_through(early, policy=short, key=None)


def test_4_what_another_version_of_gate_decided_otherwise_says_so() -> None:
    def edit(statement: Any) -> None:
        statement["predicate"]["gate"] = "0.0.1"
        statement["predicate"]["verdict"]["findings"][0]["says"] = "worded otherwise"

    with pytest.raises(AdmissionError, match=r"issued by gate 0\.0\.1, and this is gate"):
        let_through(edited(issued(LAX, None), edit), policy=LAX, key=None)


def test_the_first_step_that_fails_is_the_one_that_is_told() -> None:
    """Everything is wrong at once; each repair uncovers the next step, in the documented order."""
    weak, ended, tightened = evidence(measurement(0.5)), date(2027, 1, 1), policy(version=2)
    true = admitted_on([weak], waivers=(WAIVER,))
    forged = written({**json.loads(true), "signatures": []})
    lie = edited(
        admitted_on([weak], judge=LAX, waivers=(WAIVER,), key=None),
        lambda s: s["predicate"]["evidence"][0].update(seed=1),
    )
    lax = policy(version=2, allow_unsigned=True)

    def says(*arguments: Any) -> str:
        with pytest.raises(AdmissionError) as caught:
            let_through(*arguments)
        return str(caught.value)

    assert "not a DSSE envelope" in says(b"", OTHER_FILES, ended, tightened, PUBLIC, 0)
    assert "no valid signature" in says(forged, OTHER_FILES, ended, tightened, PUBLIC, 0)
    assert "changed or swapped" in says(lie, OTHER_FILES, ended, lax, None, 0)
    assert "on other evidence" in says(lie, FILES, ended, lax, None, 0)
    assert "not under the given test v2" in says(true, FILES, ended, tightened, PUBLIC, 0)
    assert "leans on waiver W" in says(true, FILES, ended, STRICT, PUBLIC, 0)
    assert "at most 0 are allowed" in says(true, FILES, date(2026, 12, 31), STRICT, PUBLIC, 0)
    assert let_through(true, FILES, TODAY, STRICT, PUBLIC, 0).verdict.decision == "accept"


def test_a_waiver_that_nothing_leans_on_is_not_carried() -> None:
    unused = WAIVER.model_copy(update={"id": "V", "rule": "other"})
    admission = admitted_on([evidence(measurement(0.5))], waivers=(unused, WAIVER))

    predicate = json.loads(decoded(admission)[0])["predicate"]

    assert [waiver["id"] for waiver in predicate["waivers"]] == ["W"]


def test_3_an_artefact_of_many_files_says_which_of_them_changed() -> None:
    files = {"a.bin": "0" * 64, "b/x": "1" * 64}
    found = [evidence(measurement(), backbone=digest_of_files(files))]
    admission = admitted_on(found, files=files)

    assert let_through(admission, files).verdict.decision == "accept"
    for changed, name in (
        ({**files, "b/x": "2" * 64}, r"\(b/x\)"),
        ({**files, "c": "2" * 64}, r"\(c\)"),
        ({"a.bin": "0" * 64}, r"\(b/x\)"),
        ({"renamed": "0" * 64, "b/x": "1" * 64}, r"\(a.bin, renamed\)"),
        ({".": "0" * 64}, "was changed or swapped"),
    ):
        with pytest.raises(AdmissionError, match=name):
            let_through(admission, changed)


SIGNED = issued()


@given(st.integers(0), st.integers(1, 255), st.sampled_from(["payload", "sig"]))
def test_every_changed_byte_of_the_statement_or_its_signature_is_refused(
    place: int, flip: int, part: str
) -> None:
    envelope = json.loads(SIGNED)
    holder = envelope if part == "payload" else envelope["signatures"][0]
    content = bytearray(base64.b64decode(holder[part]))
    content[place % len(content)] ^= flip
    holder[part] = base64.b64encode(content).decode()

    with pytest.raises(AdmissionError, match="no valid signature"):
        let_through(written(envelope), FILES, TODAY, STRICT, PUBLIC)


@given(st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_every_other_artefact_digest_is_refused(place: int, letter: str) -> None:
    letters = list(BACKBONE.removeprefix("sha256:"))
    letters[place] = letter
    digest = "sha256:" + "".join(letters)
    assume(digest != BACKBONE)

    with pytest.raises(AdmissionError, match="changed or swapped after it was admitted"):
        let_through(SIGNED, {".": digest}, TODAY, STRICT, PUBLIC)


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_an_admission_with_one_changed_byte_is_refused(place: int, flip: int) -> None:
    changed = bytearray(SIGNED)
    changed[place] ^= flip

    with pytest.raises(AdmissionError):
        let_through(bytes(changed), FILES, TODAY, STRICT, PUBLIC)


@given(st.integers(0, len(SIGNED)), st.binary(min_size=1, max_size=3))
def test_an_admission_with_bytes_put_in_or_taken_out_is_refused(place: int, put: bytes) -> None:
    for changed in (
        SIGNED[:place] + put + SIGNED[place:],
        SIGNED[:place] + SIGNED[place + len(put) :],
    ):
        assume(changed != SIGNED)
        with pytest.raises(AdmissionError):
            let_through(changed, FILES, TODAY, STRICT, PUBLIC)


UNSIGNED = issued(LAX, None)


@given(st.integers(0), st.integers(1, 255))
def test_a_changed_byte_of_an_unsigned_statement_is_refused_or_only_says_who_and_when(
    place: int, flip: int
) -> None:
    """Without a signature, the name, the day and gate's version are what anybody wrote there."""
    envelope = json.loads(UNSIGNED)
    content = bytearray(base64.b64decode(envelope["payload"]))
    content[place % len(content)] ^= flip
    envelope["payload"] = base64.b64encode(content).decode()
    try:
        let_through(written(envelope), policy=LAX, key=None)
    except AdmissionError:
        return
    told, changed = json.loads(decoded_payload(UNSIGNED)), json.loads(content)
    for statement in (told, changed):
        statement["subject"][0].pop("name")
        statement["predicate"].pop("issued")
        statement["predicate"].pop("gate")
    assert told == changed


_any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)


@given(st.data(), _any_json)
def test_a_statement_with_any_part_replaced_is_refused(data: st.DataObject, value: Any) -> None:
    def edit(node: Any) -> None:
        while True:
            places = list(node) if isinstance(node, dict) else list(range(len(node)))
            place = data.draw(st.sampled_from(places))
            inner = node[place]
            if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
                break
            node = inner
        # unsigned, the name, the day and gate's version are anybody's to write, as text
        put = [value] if place in ("name", "issued", "gate") else value
        assume(json.dumps(put) != json.dumps(inner))
        node[place] = put

    forged = edited(UNSIGNED, edit)

    with pytest.raises(AdmissionError):
        let_through(forged, policy=LAX, key=None)


def decoded_payload(admission: bytes) -> bytes:
    return base64.b64decode(json.loads(admission)["payload"])


@pytest.mark.parametrize("key", [b"", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_refused(key: bytes) -> None:
    with pytest.raises(AdmissionError, match="--key is no usable"):
        issued(key=key)
    with pytest.raises(AdmissionError, match="--public-key is no usable"):
        let_through(issued(), FILES, TODAY, STRICT, key)
