"""The client: one class a noun, one method a route.

Start from :class:`jupyter_mlsvc.Client`.
"""
