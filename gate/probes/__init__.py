"""Probes measure and never judge. This table lists them all, one line each.

A probe is the folder of its name: settings and metrics in ``__init__.py``, which imports no
instrument, and what measures in ``measure.py``, which is loaded when the probe runs.
"""

from importlib import import_module

from gate.probes.probe import Probe

PROBES: dict[str, Probe] = {
    name: import_module(f"gate.probes.{name}").PROBE
    for name in (
        "clean_accuracy",
        "trigger_patch",
        "trigger_search",
        "trigger_phrase",
        "spurious_attribute",
        "natural_overlay",
        "label_prior",
        "module_criticality",
    )
}
