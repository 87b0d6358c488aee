"""Images: files, pixels, the image store, batches."""
