"""What a process of the service may take of the machine.

Contract: limits hold from the call on and are never raised; a system that knows none sets none.
"""

import contextlib
import os


def bound_process(memory: int, niceness: int) -> None:
    """Bound this process.

    Args:
        memory: Most address space, in bytes.
        niceness: How much lower its priority is than that of the process that started it.
    """
    if niceness and hasattr(os, "nice"):
        os.nice(niceness)
    with contextlib.suppress(ImportError, OSError, ValueError):  # macOS has RLIMIT_AS in name only
        import resource

        for kind, limit in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, memory)):
            _, most = resource.getrlimit(kind)
            limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
            resource.setrlimit(kind, (limit, limit))
