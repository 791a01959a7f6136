"""Start a loopback Azure ML for a person: `python -m scripts.emulator`, Ctrl-C ends it."""

import shlex
import signal
import sys
import threading

from scripts.emulator.service import Emulator


def main() -> None:
    """Print what to export in another terminal, and run until Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # clean up then, too
    with Emulator(run_jobs=True) as azure:
        config = azure.write_config(azure.folder)
        print("# In another terminal (a subshell, so that nothing of it stays behind):")
        for name, value in azure.client_environment().items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"# The workspace's configuration: {config}")
        print("# Ctrl-C ends it; everything it holds is gone then.", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()
        for request in azure.unexpected:
            print(f"unexpected: {request}")


if __name__ == "__main__":
    main()
