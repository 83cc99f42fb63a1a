"""An artefact: the file or folder of a backbone, of which the bytes that were hashed are used."""

import hashlib
from pathlib import Path

from gate.errors import BackboneError
from gate.files import digest_of_files, hashed


class Artefact:
    """A file or folder with its digest; what is read of it has the digest, or is refused.

    ``bytes`` is how many its files hold.

    Args:
        path: Where it lies.

    Raises:
        BackboneError: It is missing or unreadable, or a folder that holds more than files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digests = hashed(path, BackboneError)
        self.digest = digest_of_files(self._digests)
        try:
            self.bytes = sum((path / name).stat().st_size for name in self._digests)
        except OSError as fault:
            raise BackboneError(f"{path}: cannot be read: {fault.strerror or fault}") from fault

    @property
    def names(self) -> list[str]:
        """Its files as seen from the folder; a file by itself is called ``.``."""
        return list(self._digests)

    def read(self, name: str = ".") -> bytes:
        """All bytes of one of its files.

        Raises:
            BackboneError: It cannot be read, or holds other bytes than when it was hashed.
        """
        file = self.path / name
        try:
            content = file.read_bytes()
        except OSError as fault:
            raise BackboneError(f"{file}: cannot be read: {fault.strerror or fault}") from fault
        except MemoryError as fault:
            raise BackboneError(f"{file}: does not fit into this machine's memory") from fault
        if hashlib.sha256(content).hexdigest() != self._digests.get(name):
            raise BackboneError(
                f"{file}: changed since its digest was taken, so the digest is not of what would "
                "run; run again when nothing writes to it"
            )
        return content


class HeldWeights(Artefact):
    """Weights in memory, in the place of those of a file; the file still names them in messages.

    Args:
        path: Of the file in whose place they are.
        content: What such a file would hold.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self._content = path, content
        self._digests = {".": hashlib.sha256(content).hexdigest()}
        self.digest, self.bytes = digest_of_files(self._digests), len(content)

    def read(self, name: str = ".") -> bytes:
        """All of it.

        Raises:
            BackboneError: Another name than that of the one file is asked for.
        """
        if name not in self._digests:
            raise BackboneError(f"{self.path}: weights in memory hold no file {name!r}; report it")
        return self._content
