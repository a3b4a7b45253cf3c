"""The base class of the errors that Eigenserve raises on purpose."""


class EigenserveError(Exception):
    """A request, file or setting that cannot be used as it is; the command line reports it in one line."""


class UserError(EigenserveError):
    """A mistake in what the user asked for: an option, a table or a file."""
