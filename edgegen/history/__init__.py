"""What was measured here before, and what others measured: one SQLite file."""
