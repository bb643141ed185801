"""What a package will take of a device, and how fast it will be there, before it is built."""
