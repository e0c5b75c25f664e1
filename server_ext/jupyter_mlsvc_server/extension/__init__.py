"""Runs in the Jupyter server's process: starts or joins the server, and proxies to it.

It meets the rest of the project over HTTP only.
"""
