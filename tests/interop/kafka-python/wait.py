"""Waits for conditions with a deadline. A client's own poll is the wait wherever there is one."""

import time

SECONDS_MAX = 30
PAUSE_SECONDS = 0.02


def until(what, condition, seconds=SECONDS_MAX):
    """Asks until ``condition`` returns something true, and returns that. ``what`` is text, or a function that makes it."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(PAUSE_SECONDS)
