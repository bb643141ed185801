"""Who does the work: one file a kind of machine."""
