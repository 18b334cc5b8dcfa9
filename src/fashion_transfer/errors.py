"""The one exception that means: the person at the keyboard can put this right."""


class FashionTransferError(Exception):
    """A wrong value, a missing file, a damaged download: something the user can mend.

    The message is one line that says what is wrong, with the value, and what to do next. The
    commands print it without a traceback; every other exception is a defect and keeps its own.
    """
