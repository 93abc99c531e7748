"""Videos and images in, batches of clips out."""
