"""Which problems have learned bounds: told from sizes and parts alone, for plans."""

from __future__ import annotations

from qnn.training.relaxation.solver import Question

#: The lifted columns up to which a step is quicker than a solver.
MOST_COLUMNS = 24


def refusal(question: Question, size: int) -> str | None:
    """Why there are no learned bounds of such a problem, with ``size`` lifted columns; or None."""
    if not question.loss.quadratic:
        return f"learned bounds are for loss 'squared', not {question.loss.name!r}"
    if not question.activation.pairs:
        return "learned bounds are for the bilinear activation"
    if size > MOST_COLUMNS:
        return (
            f"learned bounds are for at most {MOST_COLUMNS} columns, here {size}: "
            "beyond them a solver is quicker"
        )
    return None
