"""The toy world: drawn scenes, simulated people, and two tiny base models, so that the whole loop runs anywhere."""
