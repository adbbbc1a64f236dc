"""What the fake mail server says when it does not take a mail."""

from collections.abc import Mapping

# By code, with a place for the recipient.
REFUSALS: Mapping[int, str] = {
    550: "550 5.1.1 <{}>: Recipient address rejected: User unknown",
    552: "552 5.2.2 <{}>: mailbox full",
    553: "553 5.7.1 sender address rejected: not owned by user",
    554: "554 5.7.1 <{}>: Relay access denied",
}
# By the status with which the other fakes fail.
FAILURES: Mapping[int, str] = {
    429: "450 4.7.1 too many mails: try again later",
    500: "451 4.3.0 local error in processing",
    502: "421 4.3.2 service not available",
    503: "421 4.3.2 service not available",
}
