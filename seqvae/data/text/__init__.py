"""Text: corpora, tokenizers, the token store, batches."""
