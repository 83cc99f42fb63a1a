"""What a model that brings a program of its own may take, and what it may reach.

The child process that holds such a model confines itself before it imports anything large: limits
bind all threads that come later. Nothing is imported here but Python's own.
"""

import ctypes
import os
import resource
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SHARE = 0.75  # of the machine's memory, unless more or less is asked for
GIB = 1 << 30

# Landlock, of Linux 5.13 and later: numbers of its system calls and of what it can forbid
_CREATE, _ADD, _RESTRICT, _NO_NEW_PRIVILEGES = 444, 445, 446, 38
_EXECUTE, _READ = 0b1, 0b1100  # read: files and folders
_ALL = (1 << 13) - 1  # also: execute, write, make and remove whatever a folder can hold
_TRUNCATE, _TCP = 1 << 14, 0b11  # from its third version on; from its fourth: bind and connect
_OF_FILES = 0b111 | _TRUNCATE  # what can be allowed of a file by itself


@dataclass(frozen=True)
class Limits:
    """Time of one answer of a model, and memory.

    Args:
        seconds: Of opening it, and of each batch.
        gib: Memory in GiB; None for three quarters of this machine's.
    """

    seconds: float = 120.0
    gib: float | None = None

    @property
    def bytes(self) -> int:
        """Memory in bytes."""
        if self.gib is not None:
            return int(self.gib * GIB)
        return int(_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def confine(memory: int, readable: Sequence[str], writable: Sequence[str]) -> None:
    """Limit this process, for good: memory, and on Linux files, programs and network.

    It may read what Python and its libraries are made of, and what is named; it may write devices,
    and what is named. A kernel without Landlock limits memory alone. Where memory runs out all the
    same, the kernel ends this process first.

    Args:
        memory: Bytes.
        readable: Files or folders that it reads besides.
        writable: Folders that it writes to.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    system = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/opt", "/proc", "/sys", "/dev", "/run")
    python = (sys.prefix, sys.base_prefix, *sys.path[1:], str(Path(__file__).parent))
    _landlock([*system, *python, *readable], ["/dev", *writable])


def landlock_version() -> int:
    """Which version of Landlock this kernel has; less than 1 where it has none."""
    return int(ctypes.CDLL(None).syscall(_CREATE, None, ctypes.c_size_t(0), 1))


def _landlock(readable: Sequence[str], writable: Sequence[str]) -> None:
    """Forbid this process all files but those below paths, and the network."""
    system, version = ctypes.CDLL(None, use_errno=True), landlock_version()
    if version < 1:
        return
    files = _ALL | (_TRUNCATE if version >= 3 else 0)
    asked = (ctypes.c_uint64 * 2)(files, _TCP if version >= 4 else 0)
    rules = system.syscall(_CREATE, asked, ctypes.c_size_t(16 if version >= 4 else 8), 0)
    for paths, allowed in ((readable, _READ), (writable, files & ~_EXECUTE)):
        for path in paths:
            with suppress(OSError):  # what is not there needs no leave
                _allow(system, rules, path, allowed)
    system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if rules < 0 or system.syscall(_RESTRICT, rules, 0):
        raise OSError(ctypes.get_errno(), "Landlock refuses its rules")
    os.close(rules)


def _allow(system: ctypes.CDLL, rules: int, path: str, allowed: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        of_files = allowed if Path(path).is_dir() else allowed & _OF_FILES
        rule = struct.pack("<Qi", of_files, place)
        if system.syscall(_ADD, rules, 1, rule, 0):
            raise OSError(ctypes.get_errno(), "Landlock refuses a rule")
    finally:
        os.close(place)
