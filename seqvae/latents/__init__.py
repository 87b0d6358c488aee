"""q(z|x) and its divergence from the prior: one family a file."""
