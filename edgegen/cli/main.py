"""The command line: finds commands without importing them, and ends with an exit code.

Nothing else in edgegen exits or catches broadly. `edgegen --help` imports click and this module.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import click

from edgegen import __version__
from edgegen.cli.console import Console
from edgegen.cli.streams import flush_output
from edgegen.core.errors import INTERRUPTED_EXIT_CODE, EdgegenError, ResourceError, nearest
from edgegen.core.system_errors import system_error

if TYPE_CHECKING:
    from types import FrameType

    from edgegen.runner.ahead import RunnerAhead

RUNNER_AHEAD = "edgegen.runner.ahead"
"""Where click's `Context.meta` has the runner that waits for the command's job, or None."""

UNEXPECTED_EXIT_CODE = 1
BROKEN_PIPE_EXIT_CODE = 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1


TELEMETRY_SWITCHES = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK")
"""Set for this process and all that it starts, unless the user has set them."""


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command lives (`module:name`), and its line in `edgegen --help`."""

    place: str
    help: str


COMMANDS: Mapping[str, LazyCommand] = {
    "inspect": LazyCommand("edgegen.cli.inspect:inspect", "Say what a model is made of."),
    "package": LazyCommand("edgegen.cli.package:package", "Build a package that a device runs."),
    "verify": LazyCommand(
        "edgegen.cli.verify:verify", "Check a package, byte by byte and image by image."
    ),
    "evaluate": LazyCommand(
        "edgegen.cli.evaluate:evaluate", "Compare a package's pictures with its model's."
    ),
    "sensitivity": LazyCommand(
        "edgegen.cli.sensitivity:sensitivity", "Say which layers bear few bits, and which don't."
    ),
    "slim": LazyCommand(
        "edgegen.cli.slim:slim", "Make a smaller model of a model: cut what pictures miss least."
    ),
    "run": LazyCommand("edgegen.cli.run:run", "Make images with a package, without torch."),
    "bench": LazyCommand("edgegen.cli.bench:bench", "Measure a package on a device."),
    "report": LazyCommand(
        "edgegen.cli.report:report", "Show results, and write them as a page, Markdown or CSV."
    ),
    "choose": LazyCommand(
        "edgegen.cli.choose:choose", "Find the smallest package that meets a device's limits."
    ),
    "compare": LazyCommand(
        "edgegen.cli.compare:compare", "Find what got worse between two packages or results."
    ),
    "cost": LazyCommand(
        "edgegen.cli.cost:cost", "Compare what a picture costs here, from an API, on a GPU."
    ),
    "history": LazyCommand(
        "edgegen.cli.history:history", "List what was measured, here and by others."
    ),
    "devices": LazyCommand(
        "edgegen.cli.devices:devices", "List what is attached, and set devices up."
    ),
    "deploy": LazyCommand("edgegen.cli.deploy:deploy", "Put a package on a device."),
    "rollback": LazyCommand(
        "edgegen.cli.deploy:rollback", "Go back to the version before, on a device."
    ),
    "status": LazyCommand("edgegen.cli.deploy:status", "List the packages on a device."),
    "prune": LazyCommand("edgegen.cli.deploy:prune", "Remove old versions from a device."),
    "runner": LazyCommand("edgegen.cli.runner:runner", "Build what devices run packages with."),
    "doctor": LazyCommand(
        "edgegen.cli.doctor:doctor", "Say what is missing here, and how to get it."
    ),
    "profiles": LazyCommand("edgegen.cli.profiles:profiles", "List the devices that are known."),
    "targets": LazyCommand(
        "edgegen.cli.targets:targets", "List the package formats, and what they hold."
    ),
    "completion": LazyCommand(
        "edgegen.cli.completion:completion", "Print what a shell needs to complete command lines."
    ),
}


SYNONYMS: Mapping[str, str] = {
    "benchmark": "bench",
    "build": "package",
    "check": "verify",
    "compile": "package",
    "convert": "package",
    "diff": "compare",
    "draw": "run",
    "export": "package",
    "generate": "run",
    "quality": "evaluate",
    "score": "evaluate",
    "info": "inspect",
    "install": "deploy",
    "list": "devices",
    "ls": "devices",
    "measure": "bench",
    "push": "deploy",
    "quantize": "package",
    "show": "inspect",
    "shrink": "slim",
    "test": "verify",
    "txt2img": "run",
    "validate": "verify",
}
"""Words of other tools, and the command here that does it."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        import importlib

        module, _, name = COMMANDS[cmd_name].place.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed, or say which one is nearest."""
        if args[0] == "help":
            args = [*args[1:], "--help"]
            if args == ["--help"]:
                Console().print(ctx.get_help())
                ctx.exit()
        word = args[0]
        if word not in COMMANDS and not word.startswith("-"):
            raise click.UsageError(f"No such command '{word}'. {_meant(args)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])


def _meant(arguments: Sequence[str]) -> str:
    """Return what was probably meant by a command line whose first word is no command."""
    word, *rest = arguments
    if word == "list":
        lists = ("devices", "profiles", "targets", "status")
        return f"Lists: {', '.join(f'edgegen {name}' for name in lists)}."
    if word in SYNONYMS:
        return f"Here it is: {shlex.join(['edgegen', SYNONYMS[word], *rest])}"
    return nearest(word, COMMANDS)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command has its own --help. Commands with --json write errors as JSON, too.",
)
@click.version_option(__version__, "--version", "-V", prog_name="edgegen")
@click.option("--quiet", "-q", is_flag=True, help="Show results, warnings and errors only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def edgegen(context: click.Context, quiet: bool, debug: bool) -> None:
    """Package diffusion pipelines for devices, check them, and measure them there."""
    context.obj = Console(quiet=quiet)


def main(ahead: RunnerAhead | None = None) -> NoReturn:
    """Run the command line of this process, and exit; `ahead` is a runner that waits for its job.

    The standard streams are as `prepare_streams` leaves them. A process that drew with `ahead` ends
    at once: to take its modules apart is a twentieth of the time of a small image.
    """
    for name in TELEMETRY_SWITCHES:
        os.environ.setdefault(name, "1")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _terminate)
    if "_EDGEGEN_COMPLETE" in os.environ:
        from edgegen.cli.completion import answer

        answer(edgegen)
    code = run(sys.argv[1:], ahead)
    if ahead is None:
        sys.exit(code)
    ahead.close()
    sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str], ahead: RunnerAhead | None = None) -> int:
    """Run one command line and return its exit code; every error is reported here."""
    report = _Report(as_json=_asks_for_json(arguments), debug="--debug" in arguments)
    try:
        code = _run(arguments, report, ahead)
        unwritten = flush_output()
    except OSError as error:  # what was to be reported as JSON
        flush_output()
        unwritten = error
    if unwritten is None:
        return code
    if isinstance(unwritten, BrokenPipeError):
        return BROKEN_PIPE_EXIT_CODE
    Console().error(
        f"The result could not be written: {unwritten.strerror}.",
        "What was made is there; only what is printed is cut off.",
    )
    return ResourceError.exit_code


def _run(arguments: Sequence[str], report: _Report, ahead: RunnerAhead | None) -> int:
    try:
        with edgegen.make_context("edgegen", list(arguments)) as context:
            context.meta[RUNNER_AHEAD] = ahead
            result = edgegen.invoke(context)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, click.Abort):
        report.show("Interrupted", "Interrupted.", "", INTERRUPTED_EXIT_CODE)
        return INTERRUPTED_EXIT_CODE
    except click.ClickException as error:
        report.usage(error)
        return error.exit_code
    except EdgegenError as error:
        return report.known(error)
    except Exception as error:  # the boundary: what nobody expected is written down, not lost
        if isinstance(error, BrokenPipeError) and _standard_output_is_gone():
            return BROKEN_PIPE_EXIT_CODE
        known = system_error(error) if isinstance(error, OSError) else None
        if known is not None:
            return report.known(known)
        report.unexpected(error, arguments)
        return UNEXPECTED_EXIT_CODE


@dataclass(frozen=True, slots=True)
class _Report:
    """Writes an error: for people on standard error, and with --json as JSON on standard output.

    The JSON is `{"error": {"kind", "message", "hint", "exit_code"}}`.
    """

    as_json: bool
    debug: bool

    def show(self, kind: str, message: str, hint: str, exit_code: int) -> None:
        console = Console()
        console.error(message, hint)
        if self.as_json:
            fields = {"kind": kind, "message": message, "hint": hint, "exit_code": exit_code}
            console.json({"error": fields})

    def known(self, error: EdgegenError) -> int:
        self.traceback()
        self.show(type(error).__name__, error.message, error.hint, error.exit_code)
        return error.exit_code

    def usage(self, error: click.ClickException) -> None:
        message, hint = error.format_message(), ""
        context = getattr(error, "ctx", None)
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            Console().lines(message)
            return
        if isinstance(error, click.NoSuchOption) and error.option_name in _OWN_OPTIONS:
            hint = f"Put it before the command: edgegen {error.option_name} …"
        elif context is not None:
            hint = f"{context.get_usage()}\nSee {context.command_path} --help."
        self.show("UsageError", message, hint, error.exit_code)

    def traceback(self) -> None:
        if self.debug:
            import traceback

            Console().lines(traceback.format_exc())

    def unexpected(self, error: Exception, arguments: Sequence[str]) -> None:
        from edgegen.cli.crash import write_crash_log

        self.traceback()
        log = write_crash_log(arguments)
        hint = "This is a defect of edgegen. Please report it"
        hint += f", with {log}." if log else ", with the output of --debug."
        self.show(type(error).__name__, f"{type(error).__name__}: {error}", hint, 1)


_OWN_OPTIONS = ("--quiet", "-q", "--debug", "--version", "-V")


def _asks_for_json(arguments: Sequence[str]) -> bool:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in own


def _standard_output_is_gone() -> bool:
    """Say whether nobody reads our output any more (`edgegen profiles | head -1`)."""
    import select

    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))


def _terminate(signal_number: int, frame: FrameType | None) -> NoReturn:
    """End as after an error, so that what was half written is removed."""
    raise SystemExit(128 + signal_number)
