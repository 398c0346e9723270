"""Training the adapter that learns the mark of the non-preferred images; knows neither Django nor Celery."""
