"""`python -m lightning_cifar {fit,validate,test,predict}`: train, test and use the network."""

import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while PyTorch is imported: no traceback of that

from lightning_cifar.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
