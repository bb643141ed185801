"""Makes smaller models of models: cuts out of the denoiser what pictures miss least."""
