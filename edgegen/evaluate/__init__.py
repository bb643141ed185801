"""Quality of a package: its pictures beside those of its model, of the same prompts and noise."""
