"""The host's side of the runner: packs it, starts it, speaks its protocol."""
