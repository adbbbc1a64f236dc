"""What becomes of debits that the fake Razorpay has taken on: fates on demand."""

from collections.abc import Collection
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.dev.fakes.razorpay_errors import REFUSALS


class Fate(BaseModel):
    """A debit of this receipt, order, customer or token (`of`; None: of any) is at once in this state.

    Unless it is captured, it stays so until an explicit step moves it. `times` counts the debits it still befalls;
    without it, it befalls all until it is removed. `refuses`: the request is answered with the refusal, and not with
    the payment that failed all the same.
    """

    model_config = ConfigDict(extra="forbid")

    becomes: Literal["created", "authorized", "captured", "failed"]
    reason: str | None = None
    refuses: bool = False
    of: str | None = None
    times: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _only_failures_have_a_reason(self) -> Self:
        if self.becomes != "failed" and self.reason is not None:
            raise ValueError("reason says why a debit failed")
        if self.reason is not None and self.reason not in REFUSALS:
            raise ValueError(f"reason is one of {', '.join(sorted(REFUSALS))}")
        if self.refuses and self.reason is None:
            raise ValueError("a request is refused for a reason")
        return self


class Fates:
    """The active fates; the oldest that matches befalls a debit."""

    def __init__(self) -> None:
        self._active: list[Fate] = []

    def add(self, fate: Fate) -> None:
        self._active.append(fate.model_copy())

    def clear(self) -> None:
        self._active.clear()

    def active(self) -> list[Fate]:
        return list(self._active)

    def foreseen(self, names: Collection[str]) -> Fate | None:
        """What `of` is about to tell."""
        return next((fate for fate in self._active if fate.of is None or fate.of in names), None)

    def of(self, names: Collection[str]) -> Fate | None:
        """The fate of a debit with these names; None leaves it to the clock."""
        fate = self.foreseen(names)
        if fate is not None and fate.times is not None:
            fate.times -= 1
            self._active = [each for each in self._active if each.times != 0]
        return fate
