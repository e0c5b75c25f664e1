"""Runs in the forkserver, in templates, and in workers: what executes the code of services."""
