"""`python -m lightning_cifar {fit,validate,test,predict}`: train, test and use the network."""

import sys

from lightning_cifar.cli import main

if __name__ == "__main__":
    sys.exit(main())
