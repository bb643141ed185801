"""What people read of a measurement: tables, plots, pages and pictures."""
