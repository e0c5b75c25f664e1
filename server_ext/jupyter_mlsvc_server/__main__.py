"""``python -m jupyter_mlsvc_server`` does what ``jupyter mlsvc`` does."""

from jupyter_mlsvc_server.app import main

main()
