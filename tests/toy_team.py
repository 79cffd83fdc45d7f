"""Teams whose members are threads of one process."""

import threading

import numpy as np

from explstm.team import Team


def run_team(size, work, **options):
    """What ``work(team)`` returns for every member; the first error of any member is raised."""
    barrier = threading.Barrier(size, timeout=60)
    given, results, errors = [None] * size, [None] * size, []

    def add_of(rank):
        def add(array):
            given[rank] = array
            barrier.wait()
            total = np.sum(given, axis=0, dtype=array.dtype)
            barrier.wait()
            return total

        return add

    def run(rank):
        try:
            results[rank] = work(Team(rank, size, add_of(rank), **options))
        except Exception as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
