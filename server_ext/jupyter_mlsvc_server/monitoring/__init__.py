"""What the server's managers are asked together: how they are, and when they were last in use.

Runs in the server's process.
"""
