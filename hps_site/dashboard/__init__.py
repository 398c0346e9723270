"""The pages where what people chose meets what the metrics said."""
