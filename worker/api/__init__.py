"""What the machine's room offers to programs."""
