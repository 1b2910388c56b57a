"""Programs that tests interrupt."""

import signal


def heeding_interrupts() -> None:
    """For `preexec_fn`: what a shell runs in the background has interrupts ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
