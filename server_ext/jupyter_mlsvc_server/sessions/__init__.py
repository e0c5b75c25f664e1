"""Sessions: kernels that people run code in."""
