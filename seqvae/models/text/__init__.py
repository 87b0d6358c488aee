"""The modality that reads and writes tokens: its encoders and decoders, one row each below."""

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
