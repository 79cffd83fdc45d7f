"""The command ``explstm``: a file in, a run folder out.

    explstm forecast sales.csv --horizon 12
    explstm fit sales.csv --horizon 12 --backend torch --out sales-run
    explstm forecast sales.csv --horizon 12 --model sales-run
    explstm backtest sales.csv --horizon 12 --windows 8
    explstm tune sales.csv --horizon 12 --trials 20 --timeout 600
    explstm growth sales.csv --horizon 12
    explstm compare sales.csv --horizon 12 --seeds 3
    explstm report explstm-backtest explstm-growth
    explstm export sales-run --out sales.onnx
    explstm demo

Exit codes are those of :mod:`explstm.errors`, 130 when interrupted and 143 when terminated
between two trainings or without one. A failure is one sentence;
``--debug`` shows where it came from. With ``--json``, standard output holds one JSON object,
whatever happens. Every command imports what it needs when it runs.
"""

import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from explstm.cli import judging, making, reporting, serving
from explstm.errors import ExpLSTMError
from explstm.plain_text import spell_out
from explstm.screen import Screen

INTERRUPTED = 130
TERMINATED = 143
OUR_FAULT = 1

app = typer.Typer(
    name="explstm",
    help="Forecasts series that grow, with stacked LSTMs in PyTorch and TensorFlow.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    *(making.forecast, making.fit, making.tune, making.pretrain, making.export),
    *(judging.backtest, judging.compare, judging.audit, judging.benchmark, judging.demo),
    *(reporting.growth, reporting.report, serving.serve),
):
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        from explstm import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


class _Termination(BaseException):
    """SIGTERM as an exception, so that what was begun is cleaned up."""


def _terminate(*_: Any) -> None:
    raise _Termination


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code; never raises, unless something is broken in it."""
    as_json, debug = "--json" in arguments, "--debug" in arguments
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            exit_code = app(list(arguments), prog_name="explstm", standalone_mode=False) or 0
        except _Termination:
            text = (
                "ended on request; run it again, with --resume if checkpoints were kept beside out."
            )
            return _fail("TERMINATED", text, TERMINATED, as_json, debug=False)
        except ExpLSTMError as error:
            return _fail(error.code, error.message, error.exit_code, as_json, debug)
        except MemoryError:
            text = (
                "there is not enough memory; give fewer series at once, a lower batch_size or "
                "window, or --engine local, which forecasts a folder of Parquet in parts."
            )
            return _fail("OUT_OF_MEMORY", text, OUR_FAULT, as_json, debug)
        except Exception as error:
            if hasattr(error, "format_message"):  # the parser's own, about the arguments
                return _refuse_arguments(error, as_json)
            text = f"{type(error).__name__}: {error}; this is our fault, please report it."
            return _fail("INTERNAL", text, OUR_FAULT, as_json, debug)
    if exit_code == INTERRUPTED:  # what Typer makes of Ctrl-C
        return _fail("INTERRUPTED", "interrupted.", INTERRUPTED, as_json, debug=False)
    return int(exit_code)


def _fail(code: str, message: str, exit_code: int, as_json: bool, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    if as_json:
        Screen(as_json).write_json(
            {"error": {"code": code, "message": message, "exit_code": exit_code}}
        )
    else:
        print(spell_out(f"explstm: {code}: {message}"), file=sys.stderr)
    return exit_code


def _refuse_arguments(error: Any, as_json: bool) -> int:
    if as_json:
        return _fail("USAGE", error.format_message(), error.exit_code, as_json, False)
    error.show()
    return int(error.exit_code)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(spell_out(f"explstm: warning: {message}"), file=sys.stderr)


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))
