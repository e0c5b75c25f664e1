"""Snapshots: what a session held at a moment, kept on the server."""
