"""The pages for those who run campaigns, a module for each of them that belong together."""
