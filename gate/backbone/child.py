"""A child process that holds a model which brings a program of its own, and answers for it.

What is asked goes to the child pickled; what it answers is JSON and plain numbers, since a model
that broke out of its runtime may write anything.
"""

import json
import logging
import math
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gate.errors
from gate.arrays import Array, Float32, Int64
from gate.backbone.artefact import Artefact
from gate.backbone.declared_input import Found
from gate.backbone.heads import LinearHead
from gate.backbone.runtime import Tokens
from gate.backbone.unstable import Unstable
from gate.errors import BackboneError
from gate.limits import GIB, Limits
from gate.lineage.network import Layer, Site
from gate.plan.backbone import BackbonePlan

log = logging.getLogger("gate")

_LENGTH = struct.Struct("<Q")
_LONGEST = 1 << 24  # bytes of what an answer says beside its numbers
# It finds the modules that this process would find, and is confined before it imports large ones.
_STARTED = """
import json, sys
told = json.loads(sys.argv[1])
sys.path[:] = told["path"]
from gate.limits import confine
confine(told["memory"], told["readable"], told["writable"])
from gate.backbone.in_child import serve
serve(told["socket"])
"""


class Answer(NamedTuple):
    """What a child answers: a value that JSON can hold, and arrays of numbers."""

    value: Any
    arrays: Sequence[Array] = ()


class Confined:
    """A process that may read one file or folder, and lasts as long as this object.

    Args:
        path: The file or folder.
        limits: Time of each answer, and memory.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._socket, theirs = socket.socketpair()
        self._folder = tempfile.TemporaryDirectory(prefix="gate-")  # the only one it writes to
        self._said = Path(self._folder.name) / "said"
        told = {
            "path": sys.path,
            "memory": limits.bytes,
            "readable": [str(path.absolute())],
            "writable": [self._folder.name],
            "socket": theirs.fileno(),
        }
        with theirs, self._said.open("wb") as said:
            self._process = subprocess.Popen(  # noqa: S603  # of this Python
                [sys.executable, "-P", "-c", _STARTED, json.dumps(told)],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "TMPDIR": self._folder.name},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        weakref.finalize(self, _end, self._process, self._socket, self._folder)

    def ask(self, what: str, *arguments: Any) -> Answer:
        """What the child answers.

        Args:
            what: A method of ``gate.backbone.in_child.Held``.
            arguments: Its arguments.

        Raises:
            GateError: What the method raises.
            BackboneError: The child is too slow, or dies.
        """
        ends = time.monotonic() + self._limits.seconds
        try:
            send(self._socket, pickle.dumps((what, arguments), pickle.HIGHEST_PROTOCOL))
            answer = json.loads(receive(self._socket, _LONGEST, ends))
            arrays = [_numbers(self._socket, ends, *known) for known in answer["arrays"]]
        except (OSError, ValueError, MemoryError) as fault:
            raise self._ended(fault) from fault
        for level, text in answer["said"]:
            log.log(level, "%s", text)
        match answer["outcome"]:
            case "answered":
                return Answer(answer["value"], arrays)
            case "out of memory":
                raise BackboneError(
                    f"{self._path}: asked for more than {self._limits.bytes / GIB:.3g} GiB of "
                    "memory; if you trust it, raise --model-memory, or lower batch_size in the plan"
                )
            case "bug":
                raise RuntimeError(answer["value"])
            case kind:
                raise getattr(gate.errors, kind)(answer["value"])

    def _ended(self, fault: Exception) -> Exception:
        """End the child; the error that says why it gave no answer."""
        self._process.kill()
        code = self._process.wait()
        if isinstance(fault, TimeoutError):
            return BackboneError(
                f"{self._path}: no answer within {self._limits.seconds:g} seconds, so it was "
                "ended; if you trust it, raise --model-seconds, or lower batch_size in the plan"
            )
        said = self._said.read_text(errors="replace").strip()
        last = (said.splitlines() or ["nothing"])[-1]
        if code > 0:
            return RuntimeError(f"{self._path}: its process stopped: {last}")
        return BackboneError(
            f"{self._path}: its process died of {signal.Signals(-code).name} and said: {last}; "
            f"the runtime has a fault, or more than {self._limits.bytes / GIB:.3g} GiB of memory "
            "were needed: if you trust the file, raise --model-memory"
        )


class Child(Confined):
    """An artefact in a process of its own, opened.

    Args:
        plan: The description of its backbone.
        artefact: The file or folder, hashed; the child reads it, and refuses other bytes.
        limits: Time of each answer, and memory.

    Raises:
        BackboneError: The artefact is refused, or goes beyond a limit.
    """

    def __init__(self, plan: BackbonePlan, artefact: Artefact, limits: Limits) -> None:
        super().__init__(plan.path, limits)
        told = self.ask("open", plan, artefact).value
        self.versions: dict[str, str] = told["versions"]
        self.found = Found(told["settings"], tuple(told["remarks"]))

    def run(self, inputs: Float32 | Tokens) -> list[Float32]:
        """Inputs to the named output and, if there is one, the own head's logits."""
        return list(self.ask("run", inputs).arrays)

    def input_gradients(
        self, inputs: Float32, targets: Int64, head: LinearHead | None
    ) -> list[Float32]:
        """Logits of a batch of images, and gradients; see `input_gradients.input_gradients`."""
        return list(self.ask("input_gradients", inputs, targets, head).arrays)

    def layers(self) -> list[Layer]:
        """The linear layers that the features are computed by, with their weights."""
        said, weights = self.ask("layers")
        return [
            Layer(name, weight, Site(*reads) if reads else None, Site(*gives), tuple(readers))
            for (name, _, reads, gives, readers), weight in zip(said, weights, strict=True)
        ]

    def unstable_operators(self) -> list[Unstable]:
        """Operators by which outputs may depend on chance, or on the other rows of a batch."""
        return [Unstable(*each) for each in self.ask("unstable_operators").value]

    def activations(self, inputs: Float32 | Tokens, sites: Sequence[Site]) -> list[Float32]:
        """What `run` gives; then of each site channels ``(N, C)``, averaged over places."""
        return list(self.ask("activations", inputs, tuple(sites)).arrays)


def send(to: socket.socket, content: bytes | memoryview) -> None:
    """Send bytes, led by their number."""
    to.sendall(_LENGTH.pack(len(content)))
    to.sendall(content)


def receive(source: socket.socket, longest: int, ends: float = math.inf) -> bytearray:
    """Bytes, as they were sent.

    Args:
        source: Gives them.
        longest: How many may come.
        ends: The moment, on the monotonic clock, until which they must have come.

    Raises:
        ValueError: More come.
        OSError: Nobody sends any more, or not in time.
    """
    length = bytearray(_LENGTH.size)
    _fill(memoryview(length), source, ends)
    (count,) = _LENGTH.unpack(length)
    if count > longest:
        raise ValueError(f"{count} bytes, and at most {longest} are expected")
    content = bytearray(count)
    _fill(memoryview(content), source, ends)
    return content


def _fill(place: memoryview, source: socket.socket, ends: float) -> None:
    while place:
        if ends < math.inf:
            source.settimeout(max(ends - time.monotonic(), 1e-3))
        count = source.recv_into(place)
        if count == 0:
            raise ConnectionResetError("nobody sends any more")
        place = place[count:]


def _numbers(source: socket.socket, ends: float, kind: str, shape: list[int]) -> Array:
    """Numbers, of a type and shape that were told before."""
    if np.dtype(kind).kind not in "biuf":
        raise ValueError(f"{kind} is no type of numbers")
    array = np.empty(shape, kind)
    if array.size:
        _fill(array.data.cast("B"), source, ends)
    return array


def _end(
    process: subprocess.Popen[bytes],
    ours: socket.socket,
    folder: "tempfile.TemporaryDirectory[str]",
) -> None:
    ours.close()
    process.kill()
    process.wait()
    folder.cleanup()
