"""Benchmarks: figures beside those of peers, taken in the same run on the same machine.

Run them with ``python -m tests.benchmarks`` from the root of the repository.
"""
