"""The models that ship with edgegen: their table, their files in `data/`, and the way to them."""
