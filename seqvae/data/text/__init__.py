"""Sentences: corpora, tokenizers, the token store, batches."""
