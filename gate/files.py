"""Files appear whole or not at all; bytes are read within bounds, and have digests."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from gate.errors import GateError

_SEAL = hashlib.sha256().digest_size
LONGEST = 64 << 20  # bytes; an admission of a thousand measurements takes 1 MiB


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new place beside ``path`` to write to; it becomes ``path`` if the block succeeds.

    Whatever ends the block early (an error, Ctrl-C, a full disk) leaves the old file, or none. The
    place is called by 16 random digits, so no two writers share one and nobody can plant a link
    there. What a killed writer left is removed by the next one in that folder.

    Raises:
        GateError: The file cannot be written.
    """
    partial = path.with_name(f".{os.urandom(8).hex()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alive_in(path.parent):
            yield partial
            with _opened(partial, os.O_RDONLY) as written:
                os.fsync(written.fileno())
            partial.replace(path)
    except OSError as fault:
        raise _unwritable(path, fault) from fault
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextlib.contextmanager
def _alive_in(folder: Path) -> Iterator[None]:
    """Show that somebody writes in a folder; what dead writers left in it is removed before.

    Each writer holds a shared lock on the folder, which the kernel takes back however the writer
    ends. Whoever gets the lock alone knows that nobody writes, and that all leftovers are dead.
    """
    place = os.open(folder, os.O_RDONLY)
    try:
        # where somebody else writes, or a file system has no locks, leftovers stay
        with contextlib.suppress(OSError):
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for leftover in folder.glob(f".{'[0-9a-f]' * 16}.partial"):
                leftover.unlink()
        with contextlib.suppress(OSError):
            fcntl.flock(place, fcntl.LOCK_SH)
        yield
    finally:
        os.close(place)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder while the block runs; no other process can claim it meanwhile.

    The kernel holds the lock, and takes it back however the process ends, be it by ``kill -9``.

    Raises:
        GateError: Another process holds it (says which), or the folder cannot be written to.
    """
    lock = folder / ".gate.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = _locked(lock)
    except BlockingIOError as fault:
        raise GateError(
            f"{folder}: in use by {fault.strerror}; wait until that has ended, or choose another "
            "folder"
        ) from fault
    except OSError as fault:
        raise _unwritable(lock, fault) from fault
    with held:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                lock.unlink()


def _locked(path: Path) -> BinaryIO:
    """The file, locked and signed by this process.

    Raises:
        BlockingIOError: Another process holds it; its ``strerror`` says which.
    """
    while True:
        with contextlib.ExitStack() as closing:
            file = closing.enter_context(_opened(path, os.O_RDWR | os.O_CREAT))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as fault:
                holder = file.read(200).decode(errors="replace") or "another process"
                raise BlockingIOError(fault.errno, holder) from fault
            # its last holder may have removed it meanwhile, and then it keeps nobody out
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {os.uname().nodename}".encode())
                file.flush()
                closing.pop_all()
                return file


def _opened(path: Path, flags: int) -> BinaryIO:
    """A file as the flags say; a link in its place is refused, not followed."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o666)
    return os.fdopen(descriptor, "r+b" if flags & os.O_RDWR else "rb")


def _unwritable(path: Path, fault: OSError) -> GateError:
    return GateError(
        f"{path}: cannot be written: {fault.strerror or fault}; nothing was changed; "
        "free space or choose another folder, and run again"
    )


def write(path: Path, content: str | bytes) -> None:
    """Write a whole file, or none.

    Raises:
        GateError: The file cannot be written.
    """
    with replacing(path) as partial, partial.open("xb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def exists(path: Path) -> bool:
    """Whether anything is there. At a path of 5,000 characters, nothing is; Path's own raises."""
    return os.path.exists(path)  # noqa: PTH110  # as said


def keep(path: Path, content: bytes) -> None:
    """Write a file for `kept` to read: behind its content stands the SHA-256 of name and content.

    The name is that of the file and of its folder.

    Raises:
        GateError: The file cannot be written.
    """
    write(path, content + _seal(path, content))


def kept(path: Path) -> bytes:
    """What `keep` wrote under that very name; its bytes are read once.

    Raises:
        GateError: It cannot be read, or is anything else.
    """
    try:
        if not path.is_file():  # a pipe or a device may never end
            raise ValueError("it is no file")
        whole = path.read_bytes()
    except (OSError, ValueError) as fault:
        raise GateError(f"{path}: cannot be read: {fault}; delete the file") from fault
    content, seal = whole[:-_SEAL], whole[-_SEAL:]
    if seal != _seal(path, content):
        raise GateError(f"{path}: is not what was written there, by its digest; delete the file")
    return content


def _seal(path: Path, content: bytes) -> bytes:
    return hashlib.sha256(f"{path.parent.name}/{path.name}".encode() + content).digest()


def json_of(content: object) -> str:
    """JSON for people and for diffs; what is not finite is refused.

    Raises:
        ValueError: A number that is not finite.
    """
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def rounded(values: Iterable[float]) -> list[float]:
    """Numbers to six significant digits, so that no share of a rare class is written as 0.

    >>> rounded([0.12345678, 1.23456789e-8])
    [0.123457, 1.23457e-08]
    """
    return [float(f"{value:.6g}") for value in values]


def read(path: Path, error: type[GateError], longest: int = LONGEST) -> bytes:
    """All that a file says, be it a pipe; nothing that people or gate write is as long as 64 MiB.

    Args:
        path: A file, a pipe, or a device that may never end.
        error: What to raise when it cannot be read.
        longest: The most bytes that such a file may have.

    Raises:
        GateError: Of type ``error``: it cannot be read, or is longer.
    """
    try:
        with path.open("rb") as file:
            content = file.read(longest + 1)
    except OSError as fault:
        raise error(f"{path}: cannot be read: {fault.strerror or fault}; check the path") from fault
    if len(content) > longest:
        raise error(f"{path}: longer than {longest >> 20} MiB, so it is no such file")
    return content


def hashed(path: Path, error: type[GateError]) -> dict[str, str]:
    """SHA-256 of every file of an artefact, as hexadecimal by name.

    Names, order and digests are those of model-signing's manifest, which calls a single file ".",
    too. Unlike model-signing, nothing is left out: no ``.git``, no ``.gitignore``.

    Args:
        path: A file or a folder.
        error: What to raise when it cannot be read.

    Raises:
        GateError: Of type ``error``: missing, unreadable, an empty folder, or a folder with a link
            in it (what a link points to is not held by the digest).
    """
    try:
        if not path.is_dir():
            if path.exists() and not path.is_file():  # a device may never end
                raise error(f"{path}: neither file nor folder, so it is no artefact")
            return {".": _sha256(path)}
        entries = sorted(_entries(path))
        for entry in entries:
            if entry.is_symlink():
                raise error(f"{entry}: a link inside an artefact is refused; copy the file instead")
            if not entry.name.isprintable():  # a line break would pass for another file's line
                raise error(f"{str(entry)!a}: a name that is no plain text is refused; rename it")
            if not (entry.is_file() or entry.is_dir()):
                raise error(f"{entry}: neither file nor folder; an artefact holds nothing else")
        files = [entry for entry in entries if entry.is_file()]
        if not files:
            raise error(f"{path}: an empty folder is no artefact")
        return {file.relative_to(path).as_posix(): _sha256(file) for file in files}
    except OSError as fault:
        raise error(
            f"{fault.filename or path}: cannot be read: {fault.strerror or fault}; check the path"
        ) from fault


def _entries(folder: Path) -> Iterator[Path]:
    """All that lies below a folder. ``rglob`` would pass over a folder that it may not list."""

    def refuse(fault: OSError) -> None:
        raise fault

    for place, folders, names in os.walk(folder, onerror=refuse):
        yield from (Path(place, name) for name in (*folders, *names))


def digest_of_json(content: object) -> str:
    """Digest of values that JSON can hold, whatever the order of their keys.

    >>> digest_of_json({"a": 1, "b": 2}) == digest_of_json({"b": 2, "a": 1})
    True
    """
    return "sha256:" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def digest_of_files(files: dict[str, str]) -> str:
    """One digest for what `hashed` gives: a file's own, or that of a folder's sorted manifest.

    The manifest is what ``sha256sum`` prints. model-signing hashes the digests alone, so its root
    digest stays the same when a file is renamed in place; ours holds the names as well.

    >>> digest_of_files({".": "00" * 32}) == "sha256:" + "00" * 32
    True
    """
    if set(files) == {"."}:
        return "sha256:" + files["."]
    manifest = "".join(f"{digest}  {name}\n" for name, digest in files.items())
    return "sha256:" + hashlib.sha256(manifest.encode()).hexdigest()


def sha256_of(path: Path, error: type[GateError]) -> str:
    """Digest of an artefact: of a file its bytes, of a folder the names and bytes of all its files.

    Raises:
        GateError: Of type ``error``: as for `hashed`.
    """
    return digest_of_files(hashed(path, error))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
