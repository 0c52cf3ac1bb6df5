"""List the images of class folders: one for each class, and what people leave beside them."""

from pathlib import Path

from slicing.data.listing import LISTED, Listing, some
from slicing.errors import InputError
from slicing.names import class_name, counted


def list_class_folders(root: Path, max_megapixels: float) -> Listing:
    """List the files of class folders, and open each: Pillow reads their headers.

    Raises
    ------
    InputError
        Where a folder cannot be read, where files lie outside of the class folders, or where two
        folders have the name of one class.
    """
    listing = Listing([str(root)])
    for folder in only_folders(root, listing):
        name = class_name(folder.name)
        other = listing.places.setdefault(name, folder)
        if other != folder:
            raise InputError(
                f"{root} holds two folders of the class {name}, {other.name!a} and "
                f"{folder.name!a}: rename one, or move its images into the other."
            )
    for name, folder in listing.places.items():
        for path in listing.meant_in(folder):
            listing.add(path, name, max_megapixels)
    return listing


def only_folders(root: Path, listing: Listing) -> list[Path]:
    """List the folders in ``root``, beside which no files may lie but those to be passed over.

    Raises
    ------
    InputError
    """
    meant = listing.meant_in(root)
    folders = [path for path in meant if path.is_dir()]
    strays = [path for path in meant if not path.is_dir()]
    if strays and not folders:
        raise InputError(
            f"{root} holds {counted(len(strays), 'file')} and no class folders: name the folder "
            "above it, if it is one of them, move the images of each class into a folder, or give "
            "a table of paths and labels."
        )
    if strays:
        raise InputError(
            f"{root} holds {counted(len(strays), 'file')} outside the class folders, "
            f"{some(strays, LISTED)}: move them into one, or elsewhere."
        )
    return folders
