"""E-mail addresses that mail can go to: one check for settings and for recipients."""

from email_validator import validate_email


def ascii_address(raw: str) -> str:
    """The bare address as mail goes to it. Raises ValueError, saying why none can; nobody is asked if it exists."""
    # Not every provider and server on the way speaks SMTPUTF8: the domain goes as punycode, the name as it is.
    address = validate_email(raw, check_deliverability=False, allow_smtputf8=False, strict=True)
    return f"{address.ascii_local_part}@{address.ascii_domain}"
