"""The exceptions for mistakes that the user can fix."""


class FashionTransferError(Exception):
    """A wrong value, a missing file, a damaged download: something the user can fix.

    The message is one line that says what is wrong, with the value, and what to do next. The
    commands print it without a traceback; every other exception is a defect and keeps its own.
    """


class ArgumentError(FashionTransferError):
    """An argument of a class or function that has an impossible value.

    The commands put the configuration key in front: `zoom must be under 1, got 2` becomes
    `data.augmentation.zoom must be under 1, got 2`.

    Args:
        name: of the argument, dotted where it is an entry of a mapping (`head.name`).
        message: what is wrong with it, with the value, as the rest of a sentence.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name} {message}")
        self.name = name
        self.message = message

    def __reduce__(self) -> tuple[type["ArgumentError"], tuple[str, str]]:
        return type(self), (self.name, self.message)


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or the name of its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
