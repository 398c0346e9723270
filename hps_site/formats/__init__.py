"""How dates and times are written, where a language's own forms won't do."""
