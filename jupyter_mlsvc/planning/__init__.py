"""What a service made of a piece of a notebook needs, where it comes from, and publishing it.

The magics, the publish dialog and :func:`jupyter_mlsvc.publish` all make a :class:`Request` and
give it to the :class:`Planner`, so that the same code gives the same service in each of them.

A name that the code needs is taken from the notebook where the notebook has it: that is what its
author sees. Names that only the session has come from the session. Both values are compared by
digest first, because most of the time they are the same and nothing has to travel.
"""
