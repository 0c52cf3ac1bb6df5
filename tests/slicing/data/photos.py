"""Small images in the layouts that people give, for the tests of the data room."""

from PIL import Image

COLORS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def paint(path, name, size=(6, 5)):
    """Write an image of the color of a class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, COLORS[name]).save(path, "PNG")


def paint_classes(root, n=4):
    """Write class folders of ``n`` images each."""
    for name in COLORS:
        for number in range(n):
            paint(root / name / f"{number}.png", name)
    return root


def count(listing):
    """The number of images of each class of a listing."""
    return {name: listing.classes.count(name) for name in listing.places}
