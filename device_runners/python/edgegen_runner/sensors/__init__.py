"""What a machine says of itself while it works: `readers` has the table of what is read."""
