"""The contract as types: what travels between clients, the API and workers.

Everything here is imported by the client, the server and the code that runs beside the user's
code, so it stays light: the standard library and msgspec only, numpy and pandas inside functions.
"""
