"""A self-contained folder with Python, numpy and a runtime, for devices that have none of them."""
