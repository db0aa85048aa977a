"""Run a command line so that it ends with one of the table's exit codes, whatever happens inside.

Enters: a program's name and a function that loads its click group.  Leaves: `SystemExit`.  The
codes: `exits.py`.

An exception that nobody foresaw must not leave with Python's exit code 1, which means "found". It
becomes one line that says it is a fault of the program, and exit code 2; `--traceback` shows the
rest. Next to nothing is imported before the `try`, so that a broken installation, or Ctrl-C while
packages load, ends the same way.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

TRACEBACK = "--traceback"
#: where a fault of the program is reported
REPORT = "begat's issue tracker"


def guarded(
    program: str, load: Callable[[], Any], *, interrupted: str = "interrupted", missing: str = ""
) -> NoReturn:
    """Run the click group that `load` returns on `sys.argv` and leave with an exit code.

    Args:
        program: how lines on stderr begin.
        load: imports and returns the group, which has `run(words, program)`.
        interrupted: what is said after Ctrl-C.
        missing: what to install where a package is missing that the program can be installed
            without; "" = that is a fault.
    """
    before = sys.stdout
    try:
        # a stream put in its place (tests) is left alone
        if before is not None and before is sys.__stdout__:
            sys.stdout = _Quiet(before)
        code = load().run(sys.argv[1:], program)
        sys.stdout.flush()
        _leave(code if isinstance(code, int) else 0)
    except _Leave:
        raise
    except KeyboardInterrupt as err:
        _interrupted(program, interrupted, err)
    except BaseException as err:
        click = sys.modules.get("click")
        if click is not None and isinstance(err, click.Abort):
            _interrupted(program, interrupted, err)
        try:
            line = _line(program, err, missing)
        except BaseException:  # whatever is broken, the exit code is not 1
            line = f"a fault of {program}: {type(err).__name__}"
        code = "CANNOT" if _untestable(err) else "ERROR"
        _say(f"{program}: {'cannot test' if code == 'CANNOT' else 'error'}: {line}", err)
        _leave(_code(code))
    finally:
        sys.stdout = before


def _untestable(err: BaseException) -> bool:
    """The input is sound, and there is no result to say so."""
    errors = sys.modules.get("begat.errors")
    return errors is not None and isinstance(err, errors.UntestableError)


def _code(name: str) -> int:
    """A code of the table, which is imported late so that little can be interrupted before the
    `try` above.
    """
    from begat.cli import exits

    return int(getattr(exits, name))


def _line(program: str, err: BaseException, missing: str) -> str:
    """What is said of an exception, on one line."""
    from begat.errors import InputError, printable

    click = sys.modules.get("click")
    if isinstance(err, InputError):
        return err.line()
    if click is not None and isinstance(err, click.UsageError):
        where = err.ctx.command_path if err.ctx is not None else program
        return f"{printable(err.format_message(), 400)}; fix: {where} --help"
    if click is not None and isinstance(err, click.ClickException):
        return printable(err.format_message(), 400)
    if isinstance(err, MemoryError):
        return "not enough memory for this checkpoint"
    if missing and isinstance(err, ModuleNotFoundError) and not str(err.name).startswith("begat"):
        return f"{program} needs {err.name}; fix: {missing}"
    if isinstance(err, OSError) and err.strerror:
        return f"{printable(err.filename or 'input or output', 400)}: {printable(err.strerror)}"
    what = f"{type(err).__name__}: {err}" if str(err) else type(err).__name__
    fix = f"report it on {REPORT} with what {TRACEBACK} prints"
    return f"a fault of {program}: {printable(what)}; fix: {fix}"


def _interrupted(program: str, words: str, err: BaseException) -> NoReturn:
    import signal

    try:  # noqa: SIM105  (contextlib is not imported for this)
        # a second Ctrl-C ends at once, and prints nothing either
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:
        pass  # not in the main thread
    # Python kills itself with SIGINT in the end where code it compiled from text was interrupted
    # (`unhandled_keyboard_interrupt` in CPython's pythonrun.c), handled or not; running such code
    # to its end takes that back
    exec("")  # noqa: S102
    _say(f"{program}: {words}", err)
    _leave(_code("INTERRUPTED"))


def _say(line: str, err: BaseException) -> None:
    """One line on stderr, and below it the traceback where it was asked for. What cannot be said is
    not said.
    """
    try:
        stop_progress()
        text = line + "\n"
        if wants_traceback(sys.argv[1:]):
            import traceback

            text += "".join(traceback.format_exception(err))
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stderr.flush()
    except Exception:
        return


def wants_traceback(words: list[str]) -> bool:
    """Was `--traceback` given, before or after the command?"""
    return TRACEBACK in (words[: words.index("--")] if "--" in words else words)


def stop_progress() -> None:
    """Give the terminal back."""
    module = sys.modules.get("begat.cli.progress")
    if module is not None:
        module.stop_all()


# --- leaving ---


class _Leave(SystemExit):
    """Our own exit: a `SystemExit` that something inside raised is a fault like any other."""


def _leave(code: int) -> NoReturn:
    """End with `code`; what is still in stdout's buffer must not turn it into another while Python
    ends.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _drop_stdout()
    raise _Leave(code)


def _drop_stdout() -> None:
    """Let everything further that is written to stdout vanish."""
    try:
        if sys.__stdout__ is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.__stdout__.fileno())
            os.close(nowhere)
    except (OSError, ValueError):
        return


class _Quiet:
    """A text stream whose reader may go away (`begat … | head`): that is no error, and what was
    found stays found.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As the stream does."""
        try:
            return int(self._stream.write(text) or 0)
        except BrokenPipeError:
            _drop_stdout()
            return len(text)

    def flush(self) -> None:
        """As the stream does."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            _drop_stdout()
