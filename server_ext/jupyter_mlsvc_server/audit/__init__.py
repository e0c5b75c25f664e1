"""Who did what to the server: written by the server, and by commands beside it."""
