"""What stands for SIGKILL within a process: from one call on, nothing more reaches the disk."""

import os


class KilledError(BaseException):
    """What stands for a kill: nothing in the package catches it."""


CALLS = ("open", "fsync", "rename", "mkdir", "unlink", "rmdir")


def kill_at(monkeypatch, n, names=CALLS):
    """Let the n-th call of these that touch the file system, and all later ones, not happen."""
    calls = iter(range(10**6))

    def guarded(original):
        def call(*args, **kwargs):
            if next(calls) >= n:
                raise KilledError
            return original(*args, **kwargs)

        return call

    for name in names:
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    return calls
