"""``python -m jupyter_mlsvc_server`` does what ``jupyter mlsvc`` does."""

from jupyter_mlsvc_server.server import main

main()
