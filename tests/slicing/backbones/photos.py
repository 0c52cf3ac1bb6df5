"""Photos of flowers, for tests that look at what a network sees in them."""

import os
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[3]
ARCHIVE = Path(os.environ.get("FLOWERS17", ROOT.parent / "shared/data/flowers17.tar.gz"))


def flowers(name, count, side):
    """Read the first photos of a class: of shape (count, side, side, 3), uint8."""
    photos = []
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            if len(photos) < count and f"/{name}/" in member.name and member.isfile():
                with Image.open(BytesIO(archive.extractfile(member).read())) as image:
                    resized = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
                photos.append(np.asarray(resized))
    return np.stack(photos)
