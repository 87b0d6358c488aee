"""Pretrained encoders and decoders, and an encoder of given vectors, by config name."""

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
