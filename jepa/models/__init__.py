"""Encoder, predictor, positions and sizes."""
