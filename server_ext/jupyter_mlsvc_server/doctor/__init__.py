"""``jupyter mlsvc doctor``: looks for what keeps a server from working, and says what mends it.

Runs in a process of its own, beside the server or without one. It changes nothing.
"""
