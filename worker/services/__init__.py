"""What is written in the machine's room: one noun per module."""
