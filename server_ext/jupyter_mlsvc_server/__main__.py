"""``python -m jupyter_mlsvc_server`` and ``jupyter mlsvc`` run the server and its commands."""

from jupyter_mlsvc_server.cli import main

if __name__ == "__main__":
    main()
