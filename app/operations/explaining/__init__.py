"""What there is to tell of one job, in plain sentences: why it exists, what happened, why it waits, what comes next."""

from app.operations.explaining.facts import JobFacts
from app.operations.explaining.gathering import Explainer
from app.operations.explaining.sentences import Explanation, explain
from app.operations.explaining.view import ExplainedJob, ExplainedJobView, ExplanationView

__all__ = ["ExplainedJob", "ExplainedJobView", "Explainer", "Explanation", "ExplanationView", "JobFacts", "explain"]
