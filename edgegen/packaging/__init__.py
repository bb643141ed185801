"""Plans, builds and checks packages."""
