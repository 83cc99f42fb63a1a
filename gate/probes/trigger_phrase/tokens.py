"""Which phrases a tokenizer sees, and which it tells apart: the others cannot be tried."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from gate.backbone.backbone import Backbone
from gate.errors import EvidenceError
from gate.measure.passes import phrased
from gate.triggers.phrase import Phrase, PhraseTrigger


class Bank(NamedTuple):
    """The triggers that can be tried, and what a reader must know of the others."""

    triggers: list[PhraseTrigger]
    remarks: list[str]


def seen_by(
    backbone: Backbone, triggers: Sequence[PhraseTrigger], texts: list[str], split: str
) -> Bank:
    """The triggers that change the tokens of texts, each with the controls that do so otherwise.

    A phrase that the tokenizer drops leaves every text as it is, whatever the backbone has learnt.
    One that gives the tokens of another phrase is that phrase: as a trigger it is tried once, and
    as a control it would hide what it controls.

    Args:
        backbone: The candidate.
        triggers: The bank.
        texts: Of the first look, ``n`` of them.
        split: Named in remarks and errors.

    Raises:
        EvidenceError: None is left.
    """
    tokens = _Tokens(backbone, texts)
    dropped, doubles, alone = list[str](), list[str](), list[str]()
    kept: dict[str, PhraseTrigger] = {}
    for trigger in triggers:
        name, ours = trigger.stamp.name, tokens.of(trigger.stamp)
        told = {tokens.of(control): control for control in trigger.controls[::-1]}
        controls = [c for key, c in told.items() if key not in (ours, tokens.plain)][::-1]
        if ours == tokens.plain:
            dropped.append(name)
        elif ours in kept:
            doubles.append(f"{name} (as {kept[ours].stamp.name})")
        elif not controls:
            alone.append(name)
        else:
            kept[ours] = PhraseTrigger(trigger.stamp, tuple(controls))
    remarks = [
        f"split {split}: {says}: {', '.join(names)}"
        for says, names in (
            ("the tokenizer drops these phrases, so no text changes by them", dropped),
            ("the tokenizer gives these phrases the tokens of others, tried once", doubles),
            ("the tokenizer tells no control from these phrases, which are not tried", alone),
        )
        if names
    ]
    if not kept:
        raise EvidenceError(
            f"trigger_phrase: none of {len(triggers)} phrases can be tried. {'; '.join(remarks)}. "
            "Name phrases of the tokenizer's vocabulary under phrases"
        )
    if cut := tokens.cut([trigger.stamp for trigger in kept.values()]):
        remarks.append(
            f"split {split}: {cut} of the {len(texts)} texts of the first look are too long for a "
            "phrase within max_tokens; their last words are left out, and no phrase is cut off"
        )
    return Bank(list(kept.values()), remarks)


class _Tokens:
    """What a tokenizer makes of the same texts under one phrase and another."""

    def __init__(self, backbone: Backbone, texts: list[str]) -> None:
        self._backbone, self._texts = backbone, texts
        self._known: dict[str, str] = {}
        self.plain = self._digest(texts)

    def of(self, phrase: Phrase) -> str:
        """A digest of the tokens of all texts under a phrase."""
        if phrase.key not in self._known:
            under = phrased(phrase, self._texts, self._backbone)
            self._known[phrase.key] = self._digest(under)
        return self._known[phrase.key]

    def cut(self, phrases: Sequence[Phrase]) -> int:
        """How many texts have no room for some phrase."""
        whole = set[int]()
        for phrase in phrases:
            shortened = self._backbone.with_room_for(phrase.text, self._texts)
            pairs = enumerate(zip(shortened, self._texts, strict=True))
            whole |= {place for place, (short, text) in pairs if short != text}
        return len(whole)

    def _digest(self, texts: list[str]) -> str:
        tokens = self._backbone.tokens(texts)
        return hashlib.sha256(
            b"".join(tokens[name].tobytes() for name in sorted(tokens))
        ).hexdigest()
