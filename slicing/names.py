"""Names of files and classes, which may hold anything, made safe to show and to compare."""

import re
import unicodedata

# Control characters and line ends, halves of a pair (as which Python reads bytes that are not
# UTF-8), and marks that turn the direction of writing: a name could look like another one.
_UNSAFE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff\\u202a-\\u202e\\u2066-\\u2069]"
)
# With these a spreadsheet takes a cell for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def shown(text: object, keep: str = "") -> str:
    r"""Write a text so that it can be printed, logged and drawn anywhere.

    Parameters
    ----------
    text : object
        A name, a path, or a text with names in it.
    keep : str
        Characters that are kept as they are.

    Returns
    -------
    str
        Control characters, line ends, bytes that are not UTF-8 and marks that turn the direction
        of writing are written as ``\u001b``; all else is unchanged.
    """
    return _UNSAFE.sub(
        lambda found: found[0] if found[0] in keep else f"\\u{ord(found[0]):04x}", str(text)
    )


def class_name(name: str) -> str:
    """Give the name of a class: composed (Unicode's NFC), and :func:`shown`.

    macOS gives composed letters back in parts, so that names that look the same differ.
    """
    return shown(unicodedata.normalize("NFC", name))


def csv_cell(text: object) -> str:
    """Write a text for a CSV file: :func:`shown`, and no formula where a spreadsheet opens it.

    The apostrophe is what OWASP ("CSV injection") recommends.
    """
    cell = shown(text)
    # Before it is written safely, too: a tab is then no tab anymore.
    return f"'{cell}" if str(text).startswith(_FORMULA) else cell


def counted(n: int, noun: str) -> str:
    """Write a number of things: ``1 class``, ``1,200 files``."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"
