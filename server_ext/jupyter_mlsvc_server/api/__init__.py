"""All HTTP that the server speaks; runs in the server's process.

``app`` takes every request: it finds the operation in the tables of ``routing``, asks
``authentication`` who calls, and writes answers and errors as ``responses`` has them. Each noun has
its routes in a file of its name.
"""
