"""Evaluation of models: metrics, likelihoods per example, rate sweeps, post-hoc priors."""
