"""The command line: registers the commands, and maps results and errors to exit codes."""

import logging
import os
import sys
import traceback
from io import TextIOWrapper
from typing import Annotated

import typer

from gate import __version__
from gate.commands import judging, label_prior, measuring, policies, starting, trusting
from gate.commands.options import Command, flattened
from gate.commands.results import print_line, say
from gate.errors import ExitCode, GateError

app = typer.Typer(
    name="gate",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Judges pretrained backbones before they reach a model registry: "
    "plan -> evidence -> verdict -> admission.",
)
_COMPLETE = "_GATE_COMPLETE"
policy_app = typer.Typer(no_args_is_help=True, help="For those who edit policies.")
app.add_typer(policy_app, name="policy")
promote_app = typer.Typer(
    no_args_is_help=True, help="Check an admission, and move a registry only if it holds."
)
app.add_typer(promote_app, name="promote")
waiver_app = typer.Typer(no_args_is_help=True, help="For those who answer for waivers.")
app.add_typer(waiver_app, name="waiver")

COMMANDS: tuple[tuple[typer.Typer, str, Command], ...] = (
    (app, "inspect", starting.inspect),
    (app, "init", starting.init),
    (app, "run", measuring.run),
    (app, "estimate", measuring.estimate),
    (app, "validate", measuring.validate),
    (app, "embed", measuring.embed),
    (app, "probe", measuring.probe),
    (app, "illustrate", measuring.illustrate),
    (app, "checkpoints", measuring.checkpoints),
    (app, "calibrate", label_prior.calibrate),
    (app, "prior", label_prior.prior),
    (app, "decide", judging.decide),
    (app, "report", judging.report),
    (app, "compare", judging.compare),
    (app, "plots", judging.plots),
    (app, "explain", policies.explain),
    (app, "admit", trusting.admit),
    (app, "check", trusting.check),
    (app, "digests", starting.digests),
    (app, "exit-codes", starting.exit_codes),
    (policy_app, "lint", policies.lint),
    (policy_app, "schema", policies.schema),
    (policy_app, "show", policies.show),
    (policy_app, "test", policies.test),
    (policy_app, "diff", policies.diff),
    (policy_app, "backtest", policies.backtest),
    (promote_app, "gto", trusting.promote_gto),
    (promote_app, "mlflow", trusting.promote_mlflow),
    (waiver_app, "check", policies.check_waivers),
)
for _group, _name, _command in COMMANDS:
    _group.command(_name)(flattened(_command))


def _version(wanted: bool) -> None:
    if wanted:
        print_line(f"gate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # the callback does it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and exit.")
    ] = False,
) -> None:
    pass


class _Said(logging.Handler):
    """What is logged is said as all else."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def main() -> None:
    """Run a command; every way out has an exit code of the table, and a line that says why."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a letter that it cannot show must not end a report
            stream.reconfigure(errors="gate.escaped")
    handler = _Said()
    log = logging.getLogger("gate")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    if len(sys.argv) > 1:
        # shells ask for completions by this variable and no argument; where it merely is set, a
        # command would not run and exit 0: accepted
        os.environ.pop(_COMPLETE, None)
    code = _exit_code()
    if code == ExitCode.INTERRUPTED:
        # native threads may be at work still, and Python's own way out can abort under them;
        # every file is whole or absent by now
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _exit_code() -> int:
    try:
        result = app(prog_name="gate", standalone_mode=False)
        if result == 1 and not isinstance(result, ExitCode):  # of --install-completion
            say("there is no completion for this shell; there is for bash, zsh, fish, PowerShell")
            return ExitCode.ERROR
        code = int(result)
        if code == ExitCode.INTERRUPTED:  # typer turns Ctrl-C into this code, and says nothing
            say("interrupted; run again to complete")
        sys.stdout.flush()
        return code
    except GateError as fault:
        say(str(fault))
        return fault.exit_code
    except typer.TyperException as fault:
        say(f"{fault.format_message()} Try --help.")
        return ExitCode.USAGE
    except (SystemExit, BrokenPipeError) as ended:
        if isinstance(ended, SystemExit) and not ended.code:  # completions were shown
            return ExitCode.ACCEPT
        # typer's answer to a closed pipe is 1: rejected
        # nobody reads on; without this, the flush at exit would fail once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.ERROR
    except OSError as fault:  # what the system refuses is no bug, wherever it comes to light
        say(f"{fault.filename or 'the system'}: {fault.strerror or fault}; check the path")
        return ExitCode.ERROR
    except Exception as fault:  # a traceback exits 1, and 1 means rejected
        if "GATE_TRACEBACK" in os.environ:
            traceback.print_exc()
        say(
            f"unexpected {type(fault).__name__}: {fault}; this is a bug in gate: "
            "set GATE_TRACEBACK=1 to see where, and report it"
        )
        return ExitCode.ERROR
