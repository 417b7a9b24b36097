"""The one exception that stands for a user's mistake."""


class InputError(ValueError):
    """Input that cannot be used: the message is one line that says what is wrong and how to mend it."""
