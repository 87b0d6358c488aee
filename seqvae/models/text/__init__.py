"""Encoders and decoders of text, registered below."""

from seqvae.interfaces import Encoder
from seqvae.models.text.likelihood import TextDecoder
from seqvae.models.text.recurrent import GRUDecoder, GRUEncoder, LSTMDecoder, LSTMEncoder
from seqvae.models.text.transformer import TransformerDecoder, TransformerEncoder

ENCODERS: dict[str, type[Encoder]] = {
    "gru": GRUEncoder,
    "lstm": LSTMEncoder,
    "transformer": TransformerEncoder,
}
DECODERS: dict[str, type[TextDecoder]] = {
    "gru": GRUDecoder,
    "lstm": LSTMDecoder,
    "transformer": TransformerDecoder,
}
