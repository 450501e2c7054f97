"""What every test stands on."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Listen to Ctrl-C even where the shell that started us does not (`nohup make test &`).

    A process started in the background may have been told to ignore it, and hands that on to every process it starts;
    tests of Ctrl-C would then wait for an end that never comes.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
