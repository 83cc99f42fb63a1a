"""Policy files, each put together with what it extends, which it may only tighten."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from gate import strict_yaml
from gate.errors import PolicyError
from gate.policy.diff import compared
from gate.policy.rules import Policy, Rule, WaiverTerms


def load_policy(path: str | Path) -> Policy:
    """Read a policy file, and whatever it extends, into one whole policy.

    Raises:
        PolicyError: Missing, not YAML, empty, with an unknown key, probe, metric or label, looser
            than what it extends, or loosening though it extends nothing; the message names the
            file, the place in it and the nearest known name.
    """
    return _load(Path(path), ())


def places(path: Path) -> dict[str, strict_yaml.Place]:
    """Where each rule of a policy stands, by its id: in the file, or in one that it extends.

    A rule that replaces another stands where it replaces it.

    Raises:
        PolicyError: As for :func:`load_policy`, which is called first: it knows circles.
    """
    document = strict_yaml.read(path, Policy, PolicyError)
    base = document.value.extends
    found = places(Path(os.path.normpath(path.parent / base))) if base else {}
    for index, rule in enumerate(document.value.rules):
        found[rule.id] = document.line("rules", index)
    return found


def _load(path: Path, extending: tuple[str, ...]) -> Policy:
    place = os.path.realpath(path)
    if place in extending:
        raise PolicyError(f"{path}: extends itself, by way of {extending[-1]}; break the circle")
    document = strict_yaml.read(path, Policy, PolicyError)
    if document.value.extends is None:
        for index, rule in enumerate(document.value.rules):
            if rule.loosen:
                raise PolicyError(
                    f"{document.place('rules', index)}: {rule.id} says loosen, and "
                    f"{document.value.name} extends nothing that it could ask less than; "
                    "drop loosen, or say what the policy extends"
                )
        return document.value
    base = path.parent / document.value.extends
    if not os.path.isfile(base):  # noqa: PTH113  # Path's own raises at 5,000 characters
        raise PolicyError(
            f"{document.place('extends')}: no policy file {base}; "
            "the path is relative to the file that says extends"
        )
    return _tightened(document, _load(base, (*extending, place)))


def _tightened(document: strict_yaml.Document[Policy], base: Policy) -> Policy:
    """The whole policy that a document and the one that it extends make up."""
    policy = document.value
    old = {rule.id: rule for rule in base.rules}
    own = {rule.id: rule for rule in policy.rules}
    _require_tighter(document, base, old | own)
    rules = old | {name: _handed_down(old.get(name), rule) for name, rule in own.items()}
    stated = {name: getattr(policy, name) for name in policy.model_fields_set - {"extends"}}
    for name in sorted(stated.keys() - {"name", "version", "about", "error_rates", "rules"}):
        if not _as_strict(name, getattr(base, name), stated[name]):
            raise PolicyError(
                f"{document.place(name)}: {name} asks less than in {base.name}; "
                "an extending policy may only tighten it"
            )
    own_alone = {"extends", "about", "error_rates"}  # never handed down
    inherited = {name: getattr(base, name) for name in base.model_fields_set - own_alone}
    try:
        return Policy(**{**inherited, **stated, "rules": tuple(rules.values())})
    except ValidationError as fault:
        says = fault.errors()[0]["msg"].removeprefix("Value error, ")
        raise PolicyError(f"{document.path}: together with {base.name}: {says}") from fault


def _require_tighter(
    document: strict_yaml.Document[Policy], base: Policy, whole: Mapping[str, Rule]
) -> None:
    """Refuse rules that ask less than the base's without saying loosen, or say it for nothing.

    Raises:
        PolicyError: A rule of the document; the message names its place.
    """
    differing = compared(base.rules, whole.values())
    for index, rule in enumerate(document.value.rules):
        place = document.place("rules", index)
        asks = [change for change in differing if change.rule == rule.id]
        weaker = [change.says for change in asks if change.kind in ("looser", "unclear")]
        if weaker and not rule.loosen:
            raise PolicyError(
                f"{place}: {rule.id} asks less than in {base.name}, or something else: "
                f"{'; '.join(weaker)}; tighten it, give the rule a name of its own, "
                "or say loosen: {reason: ..., approved_by: ...}"
            )
        if rule.loosen and not weaker:
            raise PolicyError(f"{place}: {rule.id} loosens nothing of {base.name}; drop loosen")


def _handed_down(old: Rule | None, new: Rule) -> Rule:
    """A rule with the words by which the one that it replaces was loosened: they stay for good."""
    if old is None or old.loosen is None:
        return new
    both = [old.loosen, *([new.loosen] if new.loosen else [])]
    loosen = {
        "reason": "; then ".join(one.reason for one in both),
        "approved_by": "; then ".join(one.approved_by for one in both),
    }
    return Rule.model_validate({**new.model_dump(), "loosen": loosen})


def _as_strict(name: str, old: object, new: object) -> bool:
    """Whether what stands beside the rules asks as much as before; any other change is refused."""
    if name == "waivers" and isinstance(new, WaiverTerms):
        return not isinstance(old, WaiverTerms) or new.longest_days <= old.longest_days
    return new == old or (name, new) == ("allow_unsigned", False)
