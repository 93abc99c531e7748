"""Episodes of frames and actions in, windows of them out."""
