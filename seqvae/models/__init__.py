"""Models: encoders, latents, priors and decoders, and what connects them."""
