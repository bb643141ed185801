"""Measures what storing each layer's weights in fewer bits does to pictures."""
