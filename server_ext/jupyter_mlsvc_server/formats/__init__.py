"""Runs in every process: what processes exchange, such as manifests and the worker protocol."""
