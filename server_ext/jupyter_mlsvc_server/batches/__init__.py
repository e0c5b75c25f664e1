"""Batches: many calls of a service at once, on records that are sent together."""
