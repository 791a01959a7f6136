"""The relay with its pauses cut, so that a thousand kills take minutes: what is killed at random is the same code.

Small batches make many moments at which a kill may do harm. RELAY_IN_FLIGHT (seconds) is how long the service may take
to store what a killed process has handed over: half a minute of Azure's, a second of a service on this machine.
"""

import os

from lightning_cifar.azure import attempt, process, relay

NAME = "scripts.benchmarks.hurried_relay"
IN_FLIGHT = "RELAY_IN_FLIGHT"


def hurry() -> None:
    """Let the relays of this process be hurried ones, and be started again at once."""
    process.RELAY, process.RESTART_SECONDS = NAME, 0.1


def cut_pauses() -> None:
    """Let this process, a relay, and its attempts wait hundredths of seconds instead of seconds."""
    relay.TICK_SECONDS = relay.SUPERVISE_SECONDS = 0.02
    attempt.GATHER_SECONDS = relay.HURRIED_PAUSE_SECONDS = relay.MAX_PAUSE_SECONDS = 0.05


if __name__ == "__main__":
    cut_pauses()
    attempt.MAX_ENTRIES = relay.MAX_ENTRIES = 50
    attempt.IN_FLIGHT_SECONDS = float(os.environ[IN_FLIGHT])
    relay.main()
