"""One file a change, named by what it did."""
