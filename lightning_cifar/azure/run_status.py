"""How a training ended, in the words of Azure ML."""

import signal


def outcome(status: str, error: BaseException | None) -> str:
    """Return the status of a run whose training ended with `status` while `error` was being handled."""
    if status in ("success", "finished"):
        return "Completed"
    if isinstance(error, KeyboardInterrupt) or hasattr(error, "signum") or is_sigterm(error):
        return "Canceled"
    if isinstance(error, SystemExit) and not error.code:
        return "Completed"
    return "Failed"


def is_sigterm(error: BaseException | None) -> bool:
    """Whether the training ends because of SIGTERM: Lightning's exception, or one that carries the signal."""
    return getattr(error, "signum", None) == signal.SIGTERM or type(error).__name__ == "SIGTERMException"


def reason(error: BaseException | None) -> str | None:
    """Return why, in one line for the run's page; None if nothing is known."""
    return None if error is None else f"{type(error).__name__}: {error}"
