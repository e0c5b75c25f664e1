"""Run the front; the server starts it."""

from __future__ import annotations

import sys

from jupyter_mlsvc_server.front.process import main

main(*sys.argv[1:])
