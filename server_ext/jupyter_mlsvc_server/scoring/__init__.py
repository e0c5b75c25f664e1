"""Runs the code of services in worker processes, behind one interface for both doors and batch."""
