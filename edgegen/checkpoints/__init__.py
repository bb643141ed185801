"""Models in one file, in the names that their authors gave: what a file is, and what it lacks.

A network's names are a file here (`unet`, `vae`, `clip`, `pixart`), a kind of checkpoint is one in
`kinds/`. All of it works on the keys and shapes of a header; no tensor is read.
"""
