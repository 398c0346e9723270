"""Training of the preference classifier and of the aesthetic head: records and a config in, a result out."""
