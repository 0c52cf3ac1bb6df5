"""Names of files and classes, which may hold anything, made safe to show and to compare."""

import unicodedata

# What is no character (halves of a pair, as which Python reads bytes that are not UTF-8), steers a
# terminal or begins a line.
_UNSAFE_KINDS = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Marks that turn the order of what is shown around: a name could look like another one.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
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
    return "".join(
        char if char in keep or not _is_unsafe(char) else f"\\u{ord(char):04x}"
        for char in str(text)
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


def _is_unsafe(char: str) -> bool:
    return char in _TURNING or (
        not (" " <= char <= "~") and unicodedata.category(char) in _UNSAFE_KINDS
    )
