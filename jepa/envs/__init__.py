"""Environments with image observations, exact states and goals that are never drawn into the picture."""
