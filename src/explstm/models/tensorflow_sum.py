"""Sums over the processes of a TensorFlow cluster, which ``TF_CONFIG`` describes.

``keras.Model.fit`` cannot train under this strategy (keras issue 20585); a sum is all that is asked
of it here. Networks stay as they are in one process.
"""

from collections.abc import Callable

from explstm.models import tensorflow_machine  # noqa: F401 - prepares the environment first
from explstm.models.engine import Array

import tensorflow as tf  # isort: skip


def make_add_up() -> Callable[[Array], Array]:
    """Connect to the other processes; to be called before TensorFlow has computed anything.

    Returns:
        The sum over all processes, which all of them call with arrays of one shape and type.
    """
    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    def add(local: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        placed = tf.identity(local)  # an argument has no device, which a sum needs
        return context.all_reduce(tf.distribute.ReduceOp.SUM, placed)

    @tf.function(autograph=False)
    def run(local: tf.Tensor) -> tf.Tensor:
        return strategy.run(add, args=(local,))

    def add_up(array: Array) -> Array:
        total: Array = run(tf.constant(array)).numpy().copy()
        return total

    return add_up
