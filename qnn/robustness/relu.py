"""placeholder"""
from qnn.robustness.threat import Rows
class ReluProver:
    def __init__(self, network): self.rows = Rows(network)
