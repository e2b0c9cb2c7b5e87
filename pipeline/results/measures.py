"""What a network's row says of its predictions beside accuracy, RMSE and R², which `Fit` has."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.results.schema import METRIC, YOUNG, prefixed, told


@dataclass(frozen=True, kw_only=True)
class PartMeasures:
    """Of one part's rows. All None in files of earlier versions, and where they do not apply.

    `majority_share`: of the most frequent class among the targets; `confusion`: counts, a true
    class after the other, each with as many numbers as there are classes;
    `reliability`: rows of each tenth of the positive class's probability and how many of them are
    positive; of more than two classes of the predicted one's, and how many are of it.
    """

    rows: int | None = told(YOUNG)
    majority_share: float | None = told(METRIC, YOUNG)
    balanced_accuracy: float | None = told(METRIC, YOUNG)
    precision: float | None = told(METRIC, YOUNG)
    recall: float | None = told(METRIC, YOUNG)
    f1: float | None = told(METRIC, YOUNG)
    roc_auc: float | None = told(METRIC, YOUNG)
    log_loss: float | None = told(METRIC, YOUNG)
    brier: float | None = told(METRIC, YOUNG)
    mae: float | None = told(METRIC, YOUNG)
    confusion: tuple[int, ...] | None = told(YOUNG)
    reliability: tuple[int, ...] | None = told(YOUNG)

    @property
    def classes(self) -> int:
        """How many classes there are; 0 where there are none, or no rows."""
        return round(len(self.confusion or ()) ** 0.5)

    @property
    def is_constant(self) -> bool:
        """Whether one class is predicted for every row."""
        return bool(self.confusion) and sum(map(any, self._columns())) == 1

    @property
    def lacks_a_class(self) -> bool:
        """Whether some class has no row."""
        return bool(self.confusion) and not all(map(any, self._rows()))

    def of_one_class(self, metric: str) -> float | None:
        """The most of this metric that one class for every row gives; None but of accuracies."""
        if metric == "accuracy":
            return self.majority_share
        if metric == "balanced_accuracy" and any(self.confusion or ()):
            return 1.0 / sum(map(any, self._rows()))
        return None

    def _rows(self) -> list[tuple[int, ...]]:
        size, counts = self.classes, self.confusion or ()
        return [counts[k * size : (k + 1) * size] for k in range(size)]

    def _columns(self) -> list[tuple[int, ...]]:
        return list(zip(*self._rows(), strict=True))


@dataclass(frozen=True, kw_only=True)
class HeldOutMeasures(PartMeasures):
    """Of rows that nothing was fitted to: with 95 % intervals for more of their kind."""

    accuracy_low: float | None = told(METRIC, YOUNG)
    accuracy_high: float | None = told(METRIC, YOUNG)
    balanced_accuracy_low: float | None = told(METRIC, YOUNG)
    balanced_accuracy_high: float | None = told(METRIC, YOUNG)
    precision_low: float | None = told(METRIC, YOUNG)
    precision_high: float | None = told(METRIC, YOUNG)
    recall_low: float | None = told(METRIC, YOUNG)
    recall_high: float | None = told(METRIC, YOUNG)
    f1_low: float | None = told(METRIC, YOUNG)
    f1_high: float | None = told(METRIC, YOUNG)
    roc_auc_low: float | None = told(METRIC, YOUNG)
    roc_auc_high: float | None = told(METRIC, YOUNG)
    log_loss_low: float | None = told(METRIC, YOUNG)
    log_loss_high: float | None = told(METRIC, YOUNG)
    brier_low: float | None = told(METRIC, YOUNG)
    brier_high: float | None = told(METRIC, YOUNG)
    rmse_low: float | None = told(METRIC, YOUNG)
    rmse_high: float | None = told(METRIC, YOUNG)
    mae_low: float | None = told(METRIC, YOUNG)
    mae_high: float | None = told(METRIC, YOUNG)
    r2_low: float | None = told(METRIC, YOUNG)
    r2_high: float | None = told(METRIC, YOUNG)


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Of all parts; the columns begin with the part's name."""

    train: PartMeasures = field(default=PartMeasures(), metadata=prefixed("train_"))
    validation: HeldOutMeasures = field(default=HeldOutMeasures(), metadata=prefixed("validation_"))
    test: HeldOutMeasures = field(default=HeldOutMeasures(), metadata=prefixed("test_"))


NOT_MEASURED = Measures()
