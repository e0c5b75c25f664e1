"""What changes on the server, told to those who wait for it."""
