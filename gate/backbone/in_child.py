"""What a child process does: it opens one artefact, and answers one question after the other."""

import json
import logging
import os
import pickle
import re
import signal
import socket
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from gate.arrays import Float32, Int64
from gate.backbone.artefact import Artefact
from gate.backbone.child import Answer, receive, send
from gate.backbone.heads import LinearHead
from gate.backbone.runtime import Runtime, Tokens
from gate.errors import GateError
from gate.lineage.network import Site
from gate.plan.backbone import BackbonePlan

# what ONNX Runtime, torch and C++ say
_NO_MEMORY = re.compile("bad.?alloc|can't allocate|failed to allocate", re.IGNORECASE)


class Held:
    """The artefact of this process; `Child.ask` calls these methods by name."""

    def summary(self, format_: str, artefact: Artefact) -> Answer:
        """What a file says of itself; nothing of it runs."""
        return Answer(import_module(f"gate.backbone.{format_}_summary").summary(artefact))

    def open(self, plan: BackbonePlan, artefact: Artefact) -> Answer:
        """Open its runtime; the versions of it, and what was found."""
        home = import_module(f"gate.backbone.{plan.format}_runtime")
        self._runtime: Runtime = home.open_runtime(plan, artefact)
        settings, remarks = self._runtime.found
        told = {"versions": self._runtime.versions, "settings": settings, "remarks": remarks}
        return Answer(told)

    def run(self, inputs: Float32 | Tokens) -> Answer:
        """One forward pass."""
        return Answer(None, self._runtime.run(inputs))

    def input_gradients(self, inputs: Float32, targets: Int64, head: LinearHead | None) -> Answer:
        """One forward and one backward pass."""
        return Answer(None, self._runtime.input_gradients(inputs, targets, head))

    def layers(self) -> Answer:
        """Its linear layers: what is said of each, and their weights."""
        layers = self._runtime.layers()
        said = [layer._replace(weight=None) for layer in layers]  # type: ignore[arg-type]  # as JSON
        return Answer(said, [layer.weight for layer in layers])

    def unstable_operators(self) -> Answer:
        """Operators by which outputs may depend on chance, or on the other rows of a batch."""
        return Answer(self._runtime.unstable_operators())

    def activations(self, inputs: Float32 | Tokens, sites: Sequence[Site]) -> Answer:
        """One forward pass, and what is inside it."""
        return Answer(None, self._runtime.activations(inputs, sites))

    def with_head(self, *arguments: Any) -> Answer:
        """The bytes of one ONNX file of it and a head; see `onnx_heads.with_head`."""
        home = import_module("gate.backbone.onnx_heads")
        return Answer(None, [np.frombuffer(home.with_head(*arguments), np.uint8)])


class _Kept(logging.Handler):
    """What is logged goes along with the next answer."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append((record.levelno, record.getMessage()))


def serve(descriptor: int) -> None:
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks is interrupted, and ends this process
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    kept, held = _Kept(), Held()
    log = logging.getLogger("gate")
    log.setLevel(logging.INFO)
    log.addHandler(kept)
    with socket.socket(fileno=descriptor) as parent:
        while True:
            try:
                what, arguments = pickle.loads(receive(parent, 1 << 62))  # noqa: S301  # from gate
            except OSError:
                return
            outcome = "answered"
            try:
                value, arrays = getattr(held, what)(*arguments)
            except Exception as fault:  # told to who asked, who raises the like of it
                value, arrays, outcome = str(fault), (), _outcome(fault)
            shapes = [(array.dtype.str, array.shape) for array in arrays]
            told = {"outcome": outcome, "value": value, "arrays": shapes, "said": kept.said}
            send(parent, json.dumps(told).encode())
            for array in arrays:
                if array.size:
                    parent.sendall(np.ascontiguousarray(array).data.cast("B"))
            kept.said.clear()


def _outcome(fault: Exception) -> str:
    """The kind of an error: out of memory, one of gate's own by its name, or a bug."""
    told_by_library = str(fault.__cause__ or fault)
    if isinstance(fault, MemoryError) or _NO_MEMORY.search(told_by_library):
        return "out of memory"
    return type(fault).__name__ if isinstance(fault, GateError) else "bug"


def _end_with(parent: int) -> None:
    """End this process soon after the one that asks, whatever it is at."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
