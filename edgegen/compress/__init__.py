"""What the targets share in compressing weights: arithmetic alone, no format and no toolkit."""
