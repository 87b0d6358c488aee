"""What codes decode to, as a page shows it: texts, or pictures as PNG, each with its nats.

Shapes: N codes, D latent dims, C x H x W a picture.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from seqvae.explore.session import Explorer, rounded
from seqvae.inference import TextVAE
from seqvae.models.text.decoding import GenerationConfig

SAMPLES = 5  # K of the IW-NLL beside a text or picture
SIDE = 96  # pixels of a small picture are drawn to at least this many


def show_codes(
    explorer: Explorer, z: Tensor, how: GenerationConfig | None = None, seed: int = 0
) -> list[dict[str, Any]]:
    """What each code (N, D) decodes to, with its IW-NLL: `text` or `image`, `nll`, `per_unit`."""
    vae = explorer.vae
    if isinstance(vae, TextVAE):
        texts = vae.decode(z, how, seed)
        return [{"text": text, **nats} for text, nats in zip(texts, score_texts(vae, texts), strict=True)]
    pictures = explorer.pictures.decode(z)
    scores = vae.score(list(pictures), SAMPLES)
    nats = [_nats(score) for score in scores]
    return [{"image": png_address(x), **n} for x, n in zip(pictures, nats, strict=True)]


def score_texts(vae: TextVAE, texts: Sequence[str]) -> list[dict[str, Any]]:
    """IW-NLL of each text; None of an empty one, and of all where sentences alone cannot be encoded."""
    none = {"nll": None, "per_unit": None}
    if vae.reads_vectors:
        return [none for _ in texts]
    filled = [i for i, text in enumerate(texts) if vae.tokenizer.encode(text)]
    scores = vae.score([texts[i] for i in filled], SAMPLES) if filled else []
    found = {i: _nats(score) for i, score in zip(filled, scores, strict=True)}
    return [found.get(i, none) for i in range(len(texts))]


def _nats(score: Any) -> dict[str, Any]:
    nll = score.distortion if score.iw_nll is None else score.iw_nll
    return {"nll": rounded(nll), "per_unit": rounded(nll / max(1, score.units))}


def show_example(explorer: Explorer, index: int) -> dict[str, Any]:
    """An evaluation example itself."""
    example = explorer.example(index)
    return {"text": example} if explorer.is_text else {"image": png_address(example)}


def png_address(picture: Any) -> str:
    """A picture (C, H, W), uint8 or floats in [0, 1], as a data address that a page can show."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(picture)).decode()


def png_bytes(picture: Any) -> bytes:
    """The PNG file of a picture (C, H, W), small ones enlarged by a whole factor."""
    array = np.asarray(picture.cpu() if isinstance(picture, Tensor) else picture)
    if array.dtype != np.uint8:
        array = np.round(np.clip(array, 0, 1) * 255).astype(np.uint8)
    array = array[:3] if len(array) >= 3 else array[:1]
    made = Image.fromarray(array.transpose(1, 2, 0) if len(array) == 3 else array[0])
    factor = max(1, SIDE // max(made.size))
    made = made.resize((made.width * factor, made.height * factor), Image.Resampling.NEAREST)
    file = io.BytesIO()
    made.save(file, "PNG", optimize=True)
    return file.getvalue()


def sheet_bytes(pictures: Any, width: int) -> bytes:
    """One PNG of pictures (N, C, H, W), `width` in a row, for a map with thousands of them."""
    found = torch.as_tensor(np.asarray(pictures))
    n, c, h, w = found.shape
    rows = -(-n // width)
    padded = torch.cat([found, found.new_zeros(rows * width - n, c, h, w)])
    sheet = padded.view(rows, width, c, h, w).permute(2, 0, 3, 1, 4).reshape(c, rows * h, width * w).numpy()
    sheet = sheet[:3] if c >= 3 else sheet[:1]
    file = io.BytesIO()
    Image.fromarray(sheet.transpose(1, 2, 0) if len(sheet) == 3 else sheet[0]).save(file, "PNG")
    return file.getvalue()


def sampled(explorer: Explorer, temperature: float, top_p: float, greedy: bool) -> GenerationConfig | None:
    """How words are drawn; None for pictures."""
    if not isinstance(explorer.vae, TextVAE):
        return None
    how = GenerationConfig(greedy=greedy, temperature=temperature, top_p=None if top_p >= 1 else top_p)
    return replace(how, max_length=explorer.vae.config.data.max_tokens)
