"""Widgets for notebooks: a panel of services and sessions, and forms to call a service.

``forms`` and ``panel`` have the widgets. What they show is drawn by ``labextension/src/widget``,
whose requests ``channel`` passes on; ``state`` is what a panel knows of the server.
"""
