"""``python -m jupyter_mlsvc_server.extension`` runs a Jupyter server with this extension alone."""

from jupyter_mlsvc_server.extension.app import MlsvcExtension

MlsvcExtension.launch_instance()  # type: ignore[no-untyped-call]  # of jupyter_server
