"""Measuring a model: likelihoods, rates, priors fitted afterwards, metrics."""
