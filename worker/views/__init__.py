"""The pages, a module for each of them that belong together."""
