"""Does the loop work on the toy world? One declared arm against the original, its controls, three seeds."""
