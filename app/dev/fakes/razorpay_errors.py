"""What Razorpay says when it refuses or fails."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response


@dataclass(frozen=True, slots=True)
class Problem:
    """`code`, `description` and the like as in the error that Razorpay answers with."""

    description: str
    code: str = "BAD_REQUEST_ERROR"
    reason: str = "NA"
    field: str | None = None
    status: int = 400
    source: str = "NA"
    step: str = "NA"

    def answer(self, *, payment_id: str | None = None, order_id: str | None = None) -> Response:
        metadata = {"payment_id": payment_id, "order_id": order_id}
        error = {
            "code": self.code,
            "description": self.description,
            "source": self.source,
            "step": self.step,
            "reason": self.reason,
            "metadata": {name: value for name, value in metadata.items() if value},
        }
        if self.field is not None:
            error["field"] = self.field
        return JSONResponse({"error": error}, self.status)


WRONG_KEYS = Problem("The api key provided is invalid", status=401)
NO_SUCH_URL = Problem("The requested URL was not found on the server")
RECEIPT_TAKEN = Problem("Order receipt should be unique", field="receipt")
ALREADY_PAID = Problem("Payment already done for this order.", reason="order_already_paid")
OTHER_AMOUNT = Problem(
    "Your payment amount is different from your order amount. To pay successfully, please try using right amount.",
    field="amount",
)
TOO_MANY = Problem("Too many requests", status=429)
SERVER_ERROR = Problem(
    "We are facing some trouble completing your request at the moment. Please try again shortly.",
    code="SERVER_ERROR",
    reason="server_error",
    status=500,
)
GATEWAY_ERROR = Problem(
    "Payment processing failed due to error at bank or wallet gateway",
    code="GATEWAY_ERROR",
    reason="gateway_technical_error",
    status=502,
    source="gateway",
    step="payment_authorization",
)

# Refusals of a debit, by reason. Source: Razorpay, error codes of recurring payments by UPI and by card.
REFUSALS: Mapping[str, Problem] = {
    problem.reason: problem
    for problem in (
        Problem("This UPI Autopay has expired. Please set it up again.", reason="mandate_expired"),
        Problem(
            "This payment has already been processed for the current cycle. No further executions are permitted.",
            reason="mandate_already_executed",
        ),
        Problem(
            "Your payment could not be completed due to insufficient account balance. "
            "Try another card or payment method.",
            reason="insufficient_funds",
            source="customer",
            step="payment_authorization",
        ),
        Problem(
            "The payment request failed as the predebit notification was not approved",
            reason="customer_action_required",
            source="customer",
            step="payment_authorization",
        ),
        Problem("The pre-debit notification was not sent.", reason="pre_debit_notification_not_sent"),
        Problem(
            "The debit was not made at the date that the mandate promised.",
            code="BAD_REQUEST_MANDATE_PROMISED_DEBIT_DATE_NOT_HONOURED",
            reason="promised_debit_date_not_honoured",
        ),
        Problem("The mandate does not allow this debit.", reason="mandate_not_active"),
        Problem("The amount is more than the mandate allows.", reason="amount_exceeds_mandate_limit", field="amount"),
    )
}


def no_such_id(field: str | None = None) -> Problem:
    return Problem("The id provided does not exist", field=field)
