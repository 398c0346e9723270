"""How existing human choices come in: one module per format, and one path into the database for all."""
