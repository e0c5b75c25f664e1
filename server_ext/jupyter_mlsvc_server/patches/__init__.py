"""Runs in session kernels and workers: the only places where other projects are patched."""
