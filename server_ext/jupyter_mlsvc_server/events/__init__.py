"""Events: changes of services, sessions, snapshots and batches, for callers who wait for them."""
