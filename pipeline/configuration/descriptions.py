"""What each key of a configuration means, in a line: for the page of all keys and for editors.

By the record and field that the key is; a study's own before those that all studies share. A test
holds that every key has one and that no other has.
"""

from __future__ import annotations

SHARED = {
    "TrackingConfig.experiment": "MLflow's experiment; null: the sweep's name",
    "TrackingConfig.top": "of so many of the best settings a network is logged as a run of its "
    "own; training alone",
    "TrackingConfig.registered_model": "name of the registered model, without '/', ':' and "
    "apostrophe; null: the sweep's name; training alone",
    "TrackingConfig.uri": "where MLflow is; null: MLFLOW_TRACKING_URI, else a database in the "
    "run's folder",
    "Resources.cpus_per_task": "CPUs that a Ray task asks for",
    "Resources.max_retries": "how often a task is tried again whose worker was lost",
    "Resources.max_in_flight": "most tasks handed to Ray at once; null: twice as many as can run, "
    "and 8",
    "Resources.memory_per_task": "bytes that a task asks for; null: as the plan estimates",
}

TRAINING = {
    "SweepConfig.name": "name of the sweep: its folder under out/, experiment and model",
    "SweepConfig.data": "where the table is, and what its columns are",
    "SweepConfig.task": "what the target is: classes, or numbers",
    "SweepConfig.metric": "what chooses the best setting, by its mean on validation rows; null: "
    "accuracy for classes (balanced_accuracy where class_weight is set), rmse for numbers",
    "SweepConfig.class_weight": "what the rows of each class count for in the loss: balanced, n / "
    "(classes × rows of the class) of each training part, or numbers by label; null: 1",
    "SweepConfig.multi_class": "how more than two classes become outputs: one for each class "
    "against the rest, or one for each pair of at most 14, trained on their rows alone",
    "SweepConfig.preprocessing": "what is done to the features; fitted on training rows alone",
    "SweepConfig.noise": "copies of the training rows with noise in them, which make networks more "
    "robust; null: none",
    "SweepConfig.test": "the rows that never choose anything",
    "SweepConfig.shards": "how the other rows are dealt to training and validation",
    "SweepConfig.beta": "the prices of a neuron, as fractions of beta_max or as values",
    "SweepConfig.seeds": "a network for each; can be extended in a finished folder",
    "SweepConfig.widths": "most neurons of a network; can be extended in a finished folder",
    "SweepConfig.max_bytes": "the most bytes that a network may take, with the numbers of its "
    "encoding, but no names of columns, categories or classes: without beta the best of those that "
    "fit is chosen; null: no limit",
    "SweepConfig.rounding": "how a network is made of the relaxation",
    "SweepConfig.baselines": "what one would try instead, run on the same problems",
    "SweepConfig.baseline_seconds": "seconds that a baseline is given; null: as long as ours took",
    "SweepConfig.orthogonality": "how the weights of baselines that take it are kept near "
    "orthonormal; several are compared; null: not at all",
    "OrthogonalityConfig.kind": "soft: a penalty; sn: divided by the spectral norm; aon: Taylor's "
    "expansion of the orthonormalization; bjorck: that applied several times",
    "OrthogonalityConfig.order": "of the expansion, of aon and bjorck",
    "OrthogonalityConfig.iterations": "of bjorck",
    "OrthogonalityConfig.gain": "whether float_mlp learns a factor of each layer",
    "SweepConfig.loss": "the training loss; several are compared",
    "SweepConfig.loss_parameter": "the number that the loss takes, as Huber's delta",
    "SweepConfig.activation": "bilinear, or a polynomial; several are compared",
    "SweepConfig.alphabet": "what first-layer weights may be; a number is that of bits",
    "SweepConfig.second_layer": "how the second layer is stored; a number is that of bits",
    "SweepConfig.relaxation": "how each SDP is solved",
    "SweepConfig.bounds": "learned: bounds of a path's later β without an SDP, where they suffice",
    "SweepConfig.prune_gap": "gap within which bounds: learned need no SDP; null: 0.05",
    "SweepConfig.certify": "the level of proof that is sought",
    "SweepConfig.certify_time_limit": "seconds that raising the bound of one SDP may take "
    "(null: 600 for exact proofs beyond 34 columns, else no limit)",
    "SweepConfig.tracking": "where MLflow keeps the run",
    "SweepConfig.resources": "what a task may use",
    "SweepConfig.retrain": "what `qnn retrain` trains on, and its gates",
    "DataConfig.source": "CSV or Parquet file, folder of either, a URI (s3://…), or "
    "sklearn:NAME; relative to this file; ~ and variables are put in",
    "DataConfig.target": "column to predict; several for a regression of several",
    "DataConfig.positive": "the class of two that is +1, of which precision, recall and F1 speak; "
    "null: the later in order",
    "DataConfig.features": "columns to learn from; null: all others, but such as count the rows",
    "DataConfig.exclude": "columns to leave out, as ids and dates",
    "DataConfig.categorical": "text columns that become one-hot, all others being numbers; null: "
    "every column of text that spells no numbers",
    "DataConfig.missing": "what a missing cell of a feature does: end the sweep, or be imputed",
    "DataConfig.missing_values": "words that mean a missing cell, beside the empty one, NA, null",
    "DataConfig.missing_target": "what a missing target does: end the sweep, or leave its row out",
    "DataConfig.separator": "between the columns of a CSV file; null: found",
    "DataConfig.decimal": "decimal mark of numbers in text; null: found where a column "
    "has one meaning, else asked about",
    "DataConfig.thousands": "mark between thousands; null: none",
    "DataConfig.quote": "quotation mark of a CSV file",
    "DataConfig.encoding": "of a CSV file, as latin-1; null: UTF-8, UTF-16 by its first bytes, "
    "else cp1252, which is said",
    "DataConfig.comment": "lines of a CSV file that begin so are left out",
    "DataConfig.constant_columns": "whether columns of one value are left out",
    "PreprocessingConfig.scaling": "what numbers become",
    "PreprocessingConfig.thresholds": "bits a number, of scaling: thermometer",
    "PreprocessingConfig.clip": "largest size of a scaled number; null: any",
    "PreprocessingConfig.bias": "what the constant column holds; true: 1, false: there is none",
    "PreprocessingConfig.columns": "the columns that networks read, by name; null: all features",
    "PreprocessingConfig.compact": "whether means, scales, thresholds are rounded to few bits",
    "NoiseConfig.deviation": "of the noise, in standard deviations of each column of numbers; "
    "those of only 0 and 1, as booleans are read, have none",
    "NoiseConfig.copies": "of each training row, beside the row as it is",
    "NoiseConfig.seed": "of the draw",
    "HoldOut.fraction": "share of the rows held out for the test, of each class alike",
    "HoldOut.seed": "of the draw",
    "HoldOut.column": "rows of the test are those where this column is 1 or true",
    "KFold.kind": "every row is in one validation fold",
    "KFold.count": "number of folds, stratified: each has its share of every class",
    "KFold.seed": "of the draw",
    "Parts.kind": "disjoint parts, each split into training and validation rows",
    "Parts.count": "number of parts",
    "Parts.seed": "of the draw",
    "Parts.validation_fraction": "share of each part's rows",
    "ByColumn.kind": "a part for each value of a column",
    "ByColumn.column": "that column, as a date or a site; it is no feature",
    "ByColumn.seed": "of the draw",
    "ByColumn.validation_fraction": "share of each part's rows",
    "BetaConfig.fractions": "of each shard's beta_max, listed or spaced evenly in the logarithm",
    "BetaConfig.values": "the prices themselves",
    "LogSpacing.start": "the largest fraction",
    "LogSpacing.stop": "the smallest",
    "LogSpacing.count": "number of points",
    "PolynomialActivation.polynomial": "σ(t) = at² + bt + c",
    "Coefficients.a": "of t²",
    "Coefficients.b": "of t",
    "Coefficients.c": "the constant",
    "RelaxationConfig.solver": "who solves the SDP",
    "RelaxationConfig.tol": "relative gap between its two values at which it stops",
    "RelaxationConfig.time_limit": "seconds of one SDP; with one, results depend on the machine",
    "RetrainConfig.window": "what is trained on",
    "RetrainConfig.hold_out": "what judges",
    "RetrainConfig.tolerance": "accuracy that may be lost, or the share by which RMSE may grow",
    "RetrainConfig.significance": "the p-value up to which a loss counts",
    "RetrainConfig.max_bytes": "of the network with its preprocessing; null: any",
    "RetrainConfig.drift_threshold": "a population stability index above it is reported",
    "RetrainConfig.keep_runs": "the newest runs whose folders stay; null: all",
    "RetrainConfig.robustness": "how many judging rows must be provably correct; null: any",
    "RobustnessGate.radius": "how far numbers may move: one for all columns, or by column",
    "RobustnessGate.certified_accuracy": "the least share of the rows that must be proven",
    "RobustnessGate.norm": "each column alone, or all together",
    "RobustnessGate.unit": "of the radius: raw, each column's scale, or its range in these rows",
    "RobustnessGate.limits": "smallest and largest value of any column, or by column",
    "RobustnessGate.flip": "categorical columns that may change, all at once",
    "RobustnessGate.effort": "the strongest proof that is tried",
    "RobustnessGate.nodes": "most nodes of a row's branch and bound",
    "AllPartitions.kind": "every partition",
    "LastPartitions.kind": "the last partitions",
    "LastPartitions.partitions": "how many",
    "RollingRows.kind": "the last rows",
    "RollingRows.rows": "how many",
    "FreshestPartitions.kind": "the last partitions judge, and are trained on when newer ones come",
    "FreshestPartitions.partitions": "how many",
    "FractionOfNew.kind": "a share of the rows of each new partition judges",
    "FractionOfNew.fraction": "that share",
    "FractionOfNew.seed": "of the draw",
}

_NAMED = {"name": "name of the sweep", "tracking": "where MLflow keeps the run",
          "resources": "what a task may use"}  # fmt: skip

ROBUSTNESS = {
    **{f"RobustnessConfig.{key}": words for key, words in _NAMED.items()},
    "RobustnessConfig.kind": "names this study",
    "RobustnessConfig.networks": "the networks asked about",
    "RobustnessConfig.data": "the rows asked about",
    "RobustnessConfig.radii": "how far a row may be moved: for all columns, or by column",
    "RobustnessConfig.factors": "of radii by column: what they are multiplied by",
    "RobustnessConfig.flip": "categorical columns that may change, all at once",
    "RobustnessConfig.largest": "whether each row's largest certified radius is wanted, too",
    "RobustnessConfig.norms": "how a movement is measured",
    "RobustnessConfig.unit": "of the radius: raw, each column's scale, or its range in the file",
    "RobustnessConfig.effort": "the strongest proof that is tried",
    "RobustnessConfig.solver": "of the dual of ReLU networks; auto: by the network's size",
    "RobustnessConfig.limits": "smallest and largest value of any column, or by column",
    "RobustnessConfig.nodes": "most nodes of a branch and bound",
    "RobustnessConfig.block": "rows of one unit of work",
    "NetworkConfig.name": "what it is called in tables",
    "NetworkConfig.source": "its .npz, an ONNX model, or the folder of a training sweep",
    "NetworkConfig.each": "of a folder: every setting's network, to choose a robust one",
    "RowsConfig.source": "the file of the raw rows",
    "RowsConfig.target": "the column of the answers; null: as the network names it",
    "RowsConfig.limit": "the first so many rows; null: all",
}
QUANTIZATION = {
    **{f"QuantizationConfig.{key}": words for key, words in _NAMED.items()},
    "QuantizationConfig.kind": "names this study",
    "QuantizationConfig.data": "rows for calibration and for measuring",
    "QuantizationConfig.models": "float networks",
    "QuantizationConfig.methods": "how weights are rounded",
    "QuantizationConfig.budgets": "stored bits a weight",
    "QuantizationConfig.bits": "bits that a group may get; 0 beside them: neurons that are 0 on "
    "all calibration rows are left out",
    "QuantizationConfig.certify": "what is proven of each layer",
    "QuantizationConfig.group": "what shares a number of bits",
    "QuantizationConfig.tune": "what is fitted after rounding",
    "QuantizationConfig.activation_bits": "bits of activations",
    "QuantizationConfig.seeds": "of the split into calibration and held-out rows",
    "ModelConfig.source": "an ONNX file",
    "LabelsConfig.source": "a file of one column: each row's class, from 0",
    "RowsConfig.source": "a file of rows",
    "RowsConfig.labels": "each row's class, for the accuracy alone",
    "RowsConfig.held_out": "share of the rows that never reach the calibration",
    "RowsConfig.calibration": "the most rows that a quantization is given",
}
CSP = {
    **{f"CspConfig.{key}": words for key, words in _NAMED.items()},
    "CspConfig.kind": "names this study",
    "CspConfig.instances": "names as g05_60.0, or files in rudy's format or of WCSP; relative: "
    "beside this file, else in the current folder",
    "CspConfig.planted": "unique games with a hidden assignment",
    "CspConfig.rounds": "of conditioning; may be empty where exact is true",
    "CspConfig.exact": "also prove the maximum of each instance by the tree",
    "CspConfig.rules": "which variable is conditioned on",
    "CspConfig.seeds": "of the solver",
    "CspConfig.cuts": "which inequalities are added",
    "CspConfig.time_limit": "seconds of a solve; with one, results depend on the machine",
    "PlantedConfig.n": "variables",
    "PlantedConfig.k": "values of each",
    "PlantedConfig.degree": "constraints a variable, on average",
    "PlantedConfig.noise": "share of them that the hidden assignment breaks",
    "PlantedConfig.seeds": "one instance each",
}
BELL = {
    **{f"BellConfig.{key}": words for key, words in _NAMED.items()},
    "BellConfig.kind": "names this study",
    "BellConfig.data": "which behaviours",
    "BellConfig.scenarios": "settings and outcomes of the parties, as 2222; other than two parties "
    "of two outcomes with data.source alone",
    "BellConfig.levels": "of the NPA hierarchy",
    "BellConfig.steps": "of the fast method, before the fallback",
    "BellConfig.networks": "that foretell where the steps start, trained before all else",
    "NetworksConfig.widths": "hidden layers of each architecture, as [[64, 64]]",
    "NetworksConfig.training": "steps of training, each with every architecture",
    "NetworksConfig.seeds": "of the trainings",
    "NetworksConfig.shipped": "the package's own network too",
    "NetworksConfig.cold": "the steps without a network too, to compare",
    "BellConfig.fallback": "who decides what the fast method does not; null: nobody",
    "BellConfig.block": "behaviours of one unit of work",
    "BellConfig.certificates": "proofs kept of each block",
    "BehavioursConfig.source": "a Parquet file, a behaviour a row",
    "BehavioursConfig.sets": "sample sets instead of a file",
    "BehavioursConfig.count": "behaviours of each set and seed",
    "BehavioursConfig.seeds": "of the samples",
    "BehavioursConfig.points": 'of the grid of the set "plane", along each side',
}
# Of training's sections, those that this study has too.
_SECTIONS = ("DataConfig", "PreprocessingConfig", "BetaConfig", "LogSpacing", "RelaxationConfig")
DISTRIBUTED = {
    **{f"DistributedConfig.{key}": words for key, words in _NAMED.items()},
    **{key: words for key, words in TRAINING.items() if key.partition(".")[0] in _SECTIONS},
    "DistributedConfig.kind": "names this study",
    "DistributedConfig.data": "where the table is, and what its columns are",
    "DistributedConfig.task": "what the target is: classes, or numbers",
    "DistributedConfig.loss": "the training loss",
    "DistributedConfig.preprocessing": "what is done to the features",
    "DistributedConfig.beta": "the prices of a neuron, as fractions of beta_max or as values",
    "DistributedConfig.relaxation": "how each SDP is solved",
    "DistributedConfig.seed": "of the solver",
    "DistributedConfig.distributed": "how the rows are spread",
    "BlocksConfig.blocks": "blocks that the rows are cut into",
    "BlocksConfig.actors": "Ray actors that share them; results do not depend on it",
    "BlocksConfig.memory": "bytes of rows that an actor keeps instead of reading them again",
    "BlocksConfig.restarts": "how often a lost actor is started again; -1: as often as it takes",
}
OF_STUDY = {
    "training": TRAINING, "robustness": ROBUSTNESS, "quantization": QUANTIZATION, "csp": CSP,
    "bell": BELL, "distributed": DISTRIBUTED,
}  # fmt: skip


def description(study: str, record: str, field: str) -> str | None:
    """What a key means; None where nobody has said."""
    key = f"{record}.{field}"
    return OF_STUDY.get(study, {}).get(key) or SHARED.get(key)
