"""What promotion to any registry asks: the extra is there, and what is served was admitted.

Promotion lies outside the DAG, which alone protects nothing. What a registry will serve is fetched
and hashed before anything moves: a file in the workspace that checks says nothing about the commit
or the model version that is promoted. Whoever may write to the registry can still move it by hand,
so what deploys runs ``gate check`` as well.
"""

from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from gate.errors import PromotionError
from gate.files import digest_of_files, hashed
from gate.trust.check import Admitted


def require_extra(name: str) -> None:
    """Refuse to go on without a library that an extra of the same name brings."""
    if find_spec(name) is None:
        do = f"in a checkout of gate, pip install '.[{name}]'"
        raise PromotionError(f"{name} is not installed; {do}")


def require_same(place: Path, admitted: Admitted, where: str, do: str) -> None:
    """Refuse what holds other bytes, more files or fewer than what was admitted.

    Args:
        place: What the registry will serve, fetched.
        admitted: What the check let through.
        where: The registry's name for it, for the message.
        do: What the message tells people to do.

    Raises:
        PromotionError: The digests differ, or it cannot be read.
    """
    served = hashed(place, PromotionError)
    if served != admitted.files:
        raise PromotionError(
            f"{where} holds {digest_of_files(served)}, and {digest_of_files(admitted.files)} was "
            f"admitted, so that what is served is not what was admitted: "
            f"{_difference(served, admitted.files)}; {do}, and promote again"
        )


def require_recorded(content: bytes, recorded: str, where: str) -> bytes:
    """An admission as a registry keeps it, if its digest is the one that promotion recorded.

    Raises:
        PromotionError: It is another file.
    """
    found = "sha256:" + sha256(content).hexdigest()
    if found != recorded:
        raise PromotionError(
            f"{where} is {found}, and {recorded} was recorded when it was promoted: it was changed "
            "since; give the admission's own file"
        )
    return content


def _difference(served: Mapping[str, str], admitted: Mapping[str, str]) -> str:
    """The first file that one of both lacks, or else that holds other bytes.

    >>> _difference({"a": "01", "b": "02"}, {"a": "01"}), _difference({".": "01"}, {".": "02"})
    ("it has 'b' besides", 'its bytes are others')
    """
    if ("." in served) != ("." in admitted):
        return "one is a file, the other a folder"
    if more := sorted(served.keys() - admitted.keys()):
        return f"it has {more[0]!r} besides"
    if missing := sorted(admitted.keys() - served.keys()):
        return f"it lacks {missing[0]!r}"
    changed = next(name for name in sorted(served) if served[name] != admitted[name])
    return "its bytes are others" if changed == "." else f"the bytes of {changed!r} are others"
