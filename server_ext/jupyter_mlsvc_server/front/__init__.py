"""The public door in a process of its own, with the workers of services below it.

``process``, ``connection``, ``relay`` and ``tokens`` run in that process, ``supervisor``,
``engine`` and ``receiver`` in the server's, and ``link`` and ``messages`` are what the two say to
each other.
"""
