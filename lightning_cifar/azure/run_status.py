"""How a training ended, in the words of Azure ML, and how long its process may then wait."""

import signal

SIGTERM_SECONDS = 20.0
"""So long the process waits at most after SIGTERM: the platform sends a job SIGKILL 30 s or so later."""


def outcome(status: str, error: BaseException | None) -> str:
    """Return the status of a run whose training ended with `status` while `error` was being handled."""
    if status in ("success", "finished"):
        return "Completed"
    if isinstance(error, KeyboardInterrupt) or hasattr(error, "signum") or _is_sigterm(error):
        return "Canceled"
    return "Completed" if isinstance(error, SystemExit) and not error.code else "Failed"


def reason(error: BaseException | None) -> str | None:
    """Return the cause in one line, for the run's page; None if nothing is known."""
    return None if error is None else f"{type(error).__name__}: {error}"


def seconds_left(timeout: float, error: BaseException | None) -> float:
    """Return how long a process that may wait `timeout` seconds at its end may wait if `error` ends it."""
    return min(timeout, SIGTERM_SECONDS) if _is_sigterm(error) else timeout


def _is_sigterm(error: BaseException | None) -> bool:
    # Lightning's exception, or one that carries the signal, as the command line's does.
    return getattr(error, "signum", None) == signal.SIGTERM or type(error).__name__ == "SIGTERMException"
