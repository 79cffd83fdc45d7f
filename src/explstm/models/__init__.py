"""The network: what it is (:mod:`spec`) and the engines that hold it.

``engine`` states what every engine does; ``numpy_engine`` is the truth in tests, ``torch_engine``
and ``tensorflow_engine`` train. Importing this package loads no framework.
"""
