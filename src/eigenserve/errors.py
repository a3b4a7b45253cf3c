"""Define the base class of the errors that Eigenserve raises on purpose."""


class EigenserveError(Exception):
    """Report a request, file or setting that cannot be used as it is; the command line prints it in one line."""


class UserError(EigenserveError):
    """Report a mistake in what the user asked for: an option, a table or a file."""
