"""The one exception for mistakes that a user can mend."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one sentence that names what is wrong and the way out; the command line prints
    it alone, without a traceback.
    """
