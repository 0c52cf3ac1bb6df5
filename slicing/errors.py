"""The one exception for mistakes that a user can mend."""


class InputError(ValueError):
    """Something the user gave cannot be used: one sentence, and the option that it is about.

    The sentence names what is wrong and the way out; a command line prints it alone, without a
    traceback.

    Parameters
    ----------
    sentence : str
        Where it is about an option, it begins with the option's name.
    option : str, optional
        Name of the parameter or option.

    Attributes
    ----------
    option : str or None
    """

    def __init__(self, sentence: str, option: str | None = None) -> None:
        super().__init__(sentence)
        self.option = option

    def within(self, group: str) -> "InputError":
        """Give the same mistake with the name of the option in a group: ``slicing.k`` for ``k``."""
        if self.option is None:
            return self
        option, sentence = f"{group}.{self.option}", str(self)
        if sentence.startswith(self.option):
            sentence = f"{group}.{sentence}"
        return InputError(sentence, option)
