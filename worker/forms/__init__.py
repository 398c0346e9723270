"""What staff fill in, a module for each of the things they have done."""
