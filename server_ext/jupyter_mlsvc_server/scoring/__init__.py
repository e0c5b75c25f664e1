"""Runs the code of services in worker processes, behind one interface for both APIs and batches."""
