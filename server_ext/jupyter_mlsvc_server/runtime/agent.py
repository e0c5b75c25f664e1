"""The helper in each session kernel: sets inputs, reads outputs, captures and restores.

The server loads it once, by a silent execution without history that leaves nothing behind::

    __import__("jupyter_mlsvc_server.runtime.agent", fromlist=["load"]).load(get_ipython())

and then talks to it over a Jupyter comm that the server opens (target ``jupyter_mlsvc.agent``,
:data:`TARGET`). ``load`` may be run again; the newest one counts.

A request is a ``comm_msg`` on the shell channel whose ``data`` is ``{"id": …, "op": …, …}``, with
binary buffers where an operation says so. The kernel answers each one by exactly one ``comm_msg``
on iopub with the same comm id::

    {"id": …, "ok": true, …members of the operation…}       and its buffers
    {"id": …, "ok": false, "error": {"type": …, "message": …, "name": …}}

``type`` is the name of the exception's class, ``KeyboardInterrupt`` after an interrupt; ``name``
is the object it is about, where there is one. ``message`` is a sentence for the user. Send a
request only while the kernel is idle: comm messages overtake a cell that is awaiting something.

==============  ==========================================  =======================================
``op``          members of the request                      members of the answer
==============  ==========================================  =======================================
``set``         ``values``: {name: JSON}
``set_pickled`` ``name``; buffers[0] is the pickle          ``type``
``get``         ``names``: [name]                           ``values``: {name: JSON}
``get_pickled`` ``name``; ``bound``: false                  ``size``, ``type``; buffers[0]
``delete``      ``name``
``list``                                                    ``objects``: [{name, type, size}]
``capture``     ``staging``: path of an empty folder        ``report``: a ``CaptureReport``
``check``       ``workspace``: a ``Workspace``              ``warnings``: [sentence]
``restore``     ``manifest``: a ``Manifest``;               ``names``: [name],
                ``blobs``: path of the blob folder          ``lost``: {name: reason}
==============  ==========================================  =======================================

- ``set`` sets all values or none. ``set_pickled`` takes what ``cloudpickle.dumps``, ``dill.dumps``,
  ``pickle.dumps`` or ``jupyter_mlsvc.wire.objects.dumps`` wrote; functions written by the last one
  see the session's names. ``delete`` and the two ``get`` fail with type ``UnknownName`` when there
  is no such name, ``get`` with ``ValueProblem`` when JSON can't carry the value.
- ``get_pickled`` writes a plain cloudpickle that any program can read; with ``bound`` true,
  functions in it are written for :func:`jupyter_mlsvc.wire.objects.loads`.
- ``capture`` writes ``stream.pkl`` and ``buffers/<n>`` into ``staging`` (see ``capture.py``).
- ``check`` fails with type ``IncompatibleWorkspace`` when this kernel can't restore the workspace.
- ``restore`` overwrites objects of the same names and keeps the others. Files are the server's job.
"""

from __future__ import annotations

from typing import Final

TARGET: Final = "jupyter_mlsvc.agent"
"""Name of the comm target."""
