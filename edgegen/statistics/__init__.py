"""What a measurement shows, and how sure that is."""
