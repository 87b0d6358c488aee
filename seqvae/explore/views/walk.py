"""A path between two codes: each step with its nats and its place on the map."""

from __future__ import annotations

from typing import Any

from seqvae.explore.items import SAMPLES, show_codes
from seqvae.explore.requests import WalkRequest
from seqvae.explore.session import Explorer, rounded
from seqvae.explore.snippets import as_python
from seqvae.models.sampling import interpolate_codes


def walk(explorer: Explorer, request: WalkRequest) -> dict[str, Any]:
    """What the codes between two places decode to."""
    a, b = explorer.resolve(request.a), explorer.resolve(request.b)
    z = interpolate_codes(a, b, request.steps, request.path)
    steps = show_codes(explorer, z)
    for i, (step, code) in enumerate(zip(steps, z.tolist(), strict=True)):
        step |= {"t": rounded(i / (request.steps - 1), 4), "z": [rounded(v) for v in code]}
    return {
        "path": request.path,
        "steps": steps,
        "xy": explorer.place_on_map(z),
        "read": [explorer.describe(request.a), explorer.describe(request.b)],
        "python": _python(explorer, request),
    }


def _python(explorer: Explorer, request: WalkRequest) -> str:
    lines = [f"z = interpolate_codes(z[0], z[1], {request.steps}, {request.path!r})"]
    if explorer.is_text:
        lines += ["for text in vae.decode(z):", "    print(text)"]
        if explorer.reads_texts:
            lines[-1:] = [
                f"    nats = vae.score([text], samples={SAMPLES})[0].iw_nll if text else None",
                "    print(nats, text)",
            ]
    else:
        lines += ["pictures = vae.decode(z)", f"scores = vae.score(pictures, samples={SAMPLES})"]
    return as_python(explorer, [request.a, request.b], *lines)
