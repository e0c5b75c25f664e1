"""Runs in session kernels, in Python and R: the agent, capture, and what prepares a kernel."""
