"""What the dashboard and the reporting commands read; each module answers one question in a few SQL statements."""
