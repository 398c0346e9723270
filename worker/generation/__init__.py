"""Images from prompts: a diffusion pipeline read from a folder, seeds that are the same for every model."""
