"""The only code of ours that runs beside the user's code: in session kernels and in workers.

Its import time is paid at each start, so it takes the standard library, ``jupyter_mlsvc.wire`` and
cloudpickle only. The server starts it and talks to it; it never imports the server.
"""
