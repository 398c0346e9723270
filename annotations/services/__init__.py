"""Every write of the annotations room, one noun per file."""
