"""Widgets for notebooks: a panel of services and sessions, and forms to call a service.

``state`` and ``fields`` have no widgets in them; ``panel`` and ``forms`` draw them.
"""
