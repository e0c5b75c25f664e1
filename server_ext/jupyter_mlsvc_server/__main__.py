"""``python -m jupyter_mlsvc_server`` does what ``jupyter mlsvc`` does."""

from jupyter_mlsvc_server.cli import main

main()
