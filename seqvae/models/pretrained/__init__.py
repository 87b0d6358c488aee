"""Pretrained encoders and decoders, and given vectors, under the same interfaces: one row each below."""

from collections.abc import Callable

from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.interfaces import Encoder
from seqvae.models.pretrained.decoder import PretrainedDecoder
from seqvae.models.pretrained.encoder import PretrainedEncoder, VectorEncoder
from seqvae.models.pretrained.tokens import read_pretrained_tokenizer
from seqvae.models.text.likelihood import TextDecoder

ENCODERS: dict[str, type[Encoder]] = {"vectors": VectorEncoder, "pretrained": PretrainedEncoder}
DECODERS: dict[str, type[TextDecoder]] = {"pretrained": PretrainedDecoder}
TOKENIZERS: dict[str, Callable[..., TextTokenizer]] = {"pretrained": read_pretrained_tokenizer}
