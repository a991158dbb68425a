"""The report of a run: a self-contained HTML file with images, counts and histograms."""

from __future__ import annotations

import base64
import html
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.display.draw import draw_boxes
from training.lift.observation import IMAGE_REASONS
from training.lift.place import PLACES
from training.lift.reader import LiftedDataset
from training.lift.record import Problems
from training.lift.rules import REASONS
from training.lift.sample import Sample
from training.lift.shards import write_whole

STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}
h2{margin-top:2em}table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}
td.n{text-align:right;font-variant-numeric:tabular-nums}.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(370px,1fr));gap:1em}
figure{margin:0}img{width:100%;display:block}figcaption{font-size:13px;color:#555}.bars{display:flex;gap:2em;flex-wrap:wrap}
svg text{font:11px system-ui,sans-serif;fill:#444}"""


def write_report(folder: str | Path, problems: Problems, pictures: int = 24) -> Path:
    """Writes `report.html` to the folder of a finished run and returns its path."""
    data = LiftedDataset(folder)
    centers, sizes, quality = (_flat(column) for column in data.index("centers", "sizes", "quality").columns)
    body = [
        f"<h1>Lifted: {html.escape(str(data.manifest['config']['source']['kind']))}</h1>",
        _summary(data.manifest),
        "<h2>Pictures</h2><div class=grid>",
        *(_figure(data[i]) for i in _spread(len(data), pictures)),
        "</div><h2>Objects</h2><div class=bars>",
        _histogram("distance (m)", centers.reshape(-1, 3)[:, 2]),
        _histogram("longest side (m)", sizes.reshape(-1, 3).max(1)),
        _histogram("quality", quality),
        "</div>",
        _counts("Classes", data.manifest["classes"], {}, 60),
        _counts("Intrinsics by origin", data.manifest["cameras"], {}),
        _prior(data.manifest["focal_prior"]),
        _counts("Depth models chosen by place", data.manifest["places"], PLACES) if data.manifest["places"] else "",
        _counts("Objects rejected", data.manifest["rejected"], REASONS),
        _counts("Images and entries left out", data.manifest["problems"], IMAGE_REASONS),
        _examples(problems),
    ]
    page = f"<!doctype html><meta charset=utf-8><title>n3d lift report</title><style>{STYLE}</style>{''.join(body)}"
    path = Path(folder) / "report.html"
    write_whole(path, page.encode())
    return path


def _spread(total: int, wanted: int) -> list[int]:
    """Indices spread evenly over all samples."""
    return sorted({int(i) for i in np.linspace(0, total - 1, min(total, wanted))}) if total and wanted else []


def _figure(sample: Sample) -> str:
    image = draw_boxes(sample.color(), sample.camera, sample.boxes())
    scale = min(1.0, 480 / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    _, data = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    code = base64.b64encode(data.tobytes()).decode()
    asked = sample.meta["questions"][:2]
    said = "".join(f"<br>{html.escape(q['text'])} <b>{html.escape(str(q['answer']))}</b> {q['unit']}" for q in asked)
    origin = html.escape(sample.meta["depth"]["origin"])
    text = f"{html.escape(sample.key)}: {len(sample.meta['objects'])} objects, depth: {origin}"
    return f"<figure><img src='data:image/jpeg;base64,{code}'><figcaption>{text}{said}</figcaption></figure>"


def _summary(manifest: dict[str, Any]) -> str:
    names = ("images", "samples", "objects", "groundings", "questions")
    rows = "".join(f"<tr><th>{n}<td class=n>{manifest[n]:,}" for n in names)
    size = sum(s["bytes"] for s in manifest["shards"])
    shards = len(manifest["shards"])
    return f"<table>{rows}<tr><th>shards<td class=n>{shards:,}<tr><th>megabytes<td class=n>{size / 1e6:,.1f}</table>"


def _counts(title: str, counts: dict[str, int], texts: dict[str, str], most: int = 1000) -> str:
    if not counts:
        return f"<h2>{title}</h2><p>none"
    total = sum(counts.values())
    rows = "".join(
        f"<tr><td>{html.escape(name)}<td class=n>{n:,}<td class=n>{100 * n / total:.1f} %"
        f"<td>{html.escape(texts.get(name, ''))}"
        for name, n in Counter(counts).most_common(most)
    )
    return f"<h2>{title} ({total:,})</h2><table>{rows}</table>"


def _prior(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    low, middle, high = (f"{100 * found[f'error_{p}']:+.0f} %" for p in (5, 50, 95))
    return (
        f"<p>On {found['images']:,} images whose EXIF data tell the focal length, that of the assumed "
        f"{found['fov']:g}° is off by {middle} in the median, and by {low} to {high} in nine of ten."
    )


def _examples(problems: Problems) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(reason)}<td>{'<br>'.join(html.escape(e) for e in some)}"
        for reason, some in sorted(problems.examples.items())
        if some
    )
    return f"<h2>Examples</h2><table>{rows}</table>" if rows else ""


def _flat(column: Any) -> NDArray[np.float64]:
    """The numbers of a column of (nested) lists, in order."""
    flat = column.combine_chunks()
    while hasattr(flat, "flatten") and hasattr(flat.type, "value_type"):
        flat = flat.flatten()
    return np.asarray(flat.to_numpy(zero_copy_only=False), np.float64)


def _histogram(title: str, values: NDArray[np.float64], bins: int = 24) -> str:
    """A bar chart as SVG; the last bar includes everything above the 99th percentile."""
    if not len(values):
        return ""
    top = float(np.percentile(values, 99)) or 1.0
    counts, edges = np.histogram(np.clip(values, 0, top), bins=bins, range=(0, top))
    high = max(int(counts.max()), 1)
    bars = "".join(
        f"<rect x={10 + i * 14} y={130 - 110 * n / high:.1f} width=12 height={110 * n / high:.1f} fill='#4a7fb5'>"
        f"<title>{edges[i]:.2f} to {edges[i + 1]:.2f}: {n}</title></rect>"
        for i, n in enumerate(counts)
    )
    axis = f"<text x=10 y=145>0</text><text x={10 + bins * 14 - 30} y=145>{top:.2g}</text>"
    head = f"<text x=10 y=12>{html.escape(title)}, median {np.median(values):.2f}, n {len(values):,}</text>"
    return f"<svg width={30 + bins * 14} height=150>{head}{bars}{axis}</svg>"
