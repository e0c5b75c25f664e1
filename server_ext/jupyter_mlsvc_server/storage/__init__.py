"""What the server keeps: rows in a database, blobs and private files on disk."""
