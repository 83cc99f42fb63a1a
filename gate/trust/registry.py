"""What promotion to any registry asks: the extra is there, and what is served was admitted.

Promotion lies outside the DAG, which alone protects nothing. What a registry will serve is fetched
and hashed before anything moves: a file in the workspace that checks says nothing about the commit
or the model version that is promoted. Whoever may write to the registry can still move it by hand,
so what deploys runs ``gate check`` as well.
"""

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
            f"admitted; {do}, and promote again"
        )
