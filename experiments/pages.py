"""Pages of HTML that need no other file: what they are made of."""

from base64 import b64encode
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from experiments.tables import finding_cells
from slicing.data.image_file import UnreadableImageError, decoded, opened
from slicing.data.quality import Quality
from slicing.data.survey import Survey
from slicing.files import replacing
from slicing.names import shown

# Limits for a page that a browser opens: sets of copies, images of each, probable label errors, and
# pixels a side.
_SETS, _OF_A_SET, _ERRORS, _PIXELS = 24, 6, 24, 128


def write(path: Path, template: str, **values: Any) -> None:
    """Write a page.

    Parameters
    ----------
    path : Path
    template : str
        Name of a file of this package.
    **values
        What the template puts in. Names of classes, files and runs are the user's: all is escaped.
    """
    text = _templates().get_template(template).render(**values)
    with replacing(path) as file:
        file.write(shown(text, keep="\n").encode())


@cache
def _templates() -> Environment:
    """Give the package's templates, each of which is compiled once."""
    return Environment(
        loader=PackageLoader("experiments", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def embedded(picture: bytes, kind: str = "png") -> str:
    """Write a picture's file as an address that is the file itself."""
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"


def told(quality: Quality, survey: Survey | None) -> dict[str, Any]:
    """Give what the template ``quality.html.j2`` puts in.

    Parameters
    ----------
    quality : Quality
    survey : Survey or None
        The files; those that are shown are read again.
    """
    shown_files = [image for each in quality.copies[:_SETS] for image in each.images[:_OF_A_SET]]
    shown_files += [each.image for each in quality.label_errors[:_ERRORS]]
    wanted = {image.path for image in shown_files}
    files = {survey.name(path): path for path in survey.paths} if survey else {}
    return {
        "quality": quality,
        "n_sets": _SETS,
        "n_of_a_set": _OF_A_SET,
        "n_errors": _ERRORS,
        "pictures": {name: _picture(files[name]) for name in wanted},
        "findings": finding_cells(quality),
    }


def _picture(path: Path) -> str:
    """Embed an image file, small; of one that cannot be read anymore, nothing."""
    try:
        with opened(path) as image:
            picture = decoded(image, "RGB")
    except UnreadableImageError:
        return ""
    picture.thumbnail((_PIXELS, _PIXELS))
    file = BytesIO()
    picture.save(file, "JPEG")
    return embedded(file.getvalue(), "jpeg")
