"""`qnn csp`: what it prints is what the solver found, its files verify, bad input is one line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import qnn.moments.csp as csp
from pipeline.commands.cli import app
from qnn.certificates.csp import CspCertificate, Payoffs, verify_csp
from qnn.errors import InputError

COLOURS = """colours 3 3 3 100
3 3 3
2 0 1 0 3
0 0 5
1 1 5
2 2 5
2 1 2 0 1
1 1 4
1 0 0 2
0 0
1 1
"""


def line_of(output: str, name: str) -> str:
    (line,) = [line for line in output.splitlines() if line.startswith(f"{name} ")]
    return line.removeprefix(name).strip()


def test_a_name_is_proven_and_verified_from_the_files(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    result = CliRunner().invoke(app, ["csp", "g05_20.0", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == ["problem.npz", "proof.npz"]
    truth = csp.rudy("g05_20.0").prove()
    assert line_of(result.output, "bound") == f"{truth.upper_bound:.12g}, proven"
    assert line_of(result.output, "value") == f"{truth.value:.12g}, the maximum"
    certificate = CspCertificate.load(out / "proof.npz")
    assert verify_csp(certificate, Payoffs.load(out / "problem.npz")) == truth.upper_bound
    command = result.output.splitlines()[-1].split()
    verified = CliRunner().invoke(app, command[1:])
    assert verified.exit_code == 0
    assert "value <= 67.0" in verified.output
    # The folder, and the file alone: the problem lies beside it.
    for path in (out, out / "proof.npz"):
        verified = CliRunner().invoke(app, ["verify", str(path)])
        assert verified.exit_code == 0
        assert "1 files, all verified" in verified.output
    CspCertificate.load(out / "proof.npz")
    csp.rudy("g05_20.1").payoffs.save(out / "problem.npz")
    assert CliRunner().invoke(app, command[1:]).exit_code == 1
    assert CliRunner().invoke(app, ["verify", str(out)]).exit_code == 1


def test_rounds_of_a_file_are_those_of_the_library(tmp_path: Path) -> None:
    file = tmp_path / "colours.wcsp"
    file.write_text(COLOURS)
    arguments = ["csp", str(file), "--rounds", "1", "--rule", "corr", "--cuts", "none"]
    result = CliRunner().invoke(app, [*arguments, "--seed", "3"])
    assert result.exit_code == 0, result.output
    solution = csp.read(file).solve(1, "corr", cuts="none", seed=3)
    assert line_of(result.output, "value").startswith(f"{solution.value:.12g}")
    assert line_of(result.output, "bound") == f"{solution.upper_bound:.12g}, proven"
    assert line_of(result.output, "nodes").startswith(f"{solution.nodes}, {solution.leaves} leaves")
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.txt"], "nothing.txt: no such file, and no name of an instance"),
        (["zz_20.0"], "'zz_20.0' is no instance of the rudy generator"),
        (["."], "is a folder"),
        (["g05_9999.0"], "too many"),
        (["g05_20.0", "--rule", "best"], "rule must be one of"),
        (["g05_20.0", "--cuts", "all"], "cuts must be one of"),
        (["g05_20.0", "--time-limit", "nan"], "time_limit must be positive"),
        (["g05_20.0", "--rounds", "0", "--workers", "2"], "--workers: they share the tree"),
        (["g05_20.0", "--rounds", "30"], "more than 4096 leaves"),
        (["g05_20.0", "--out", "{file}"], "is no folder that can be written to"),
        (["{file}"], "not a text file of edges or costs"),
    ],
)
def test_bad_input_is_a_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\xff\x00")
    given = [argument.format(file=file) for argument in arguments]
    result = CliRunner().invoke(app, ["csp", *given])
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_said_of_the_value(tmp_path: Path) -> None:
    def told(text: str, *options: str) -> str:
        (tmp_path / "a.wcsp").write_text(text)
        result = CliRunner().invoke(app, ["csp", str(tmp_path / "a.wcsp"), *options])
        assert result.exit_code == 0, result.output
        return result.output

    # A triangle of which three edges cost 4 where they are not cut: 4 is the least.
    edges = "".join(f"2 {i} {j} 0 2\n0 0 4\n1 1 4\n" for i, j in ((0, 1), (1, 2), (2, 0)))
    text = "triangle 3 2 4 1000000000\n2 2 2\n" + edges + "0 10000000 0\n"
    plain = told(text, "--rounds", "0", "--cuts", "none")
    assert line_of(plain, "value") == "-10000004"
    assert "(0 rounds, rule auto)" in line_of(plain, "nodes")
    proven = told(text)
    assert line_of(proven, "value") == "-10000004, the maximum"
    assert "(tree, rule auto)" in line_of(proven, "nodes")
    nothing = told("none 2 2 2 10\n1 2\n2 0 1 10 0\n2 0 1 10 0\n")
    said = "-20, no solution: of one below the upper bound 10 there is none"
    assert line_of(nothing, "value") == said
    (tmp_path / "a.mc").write_text("3 3\n1 2 0.37\n2 3 0.37\n1 3 0.37\n")
    real = CliRunner().invoke(app, ["csp", str(tmp_path / "a.mc")]).output
    assert line_of(real, "value").startswith("0.74, the maximum but for ")


def test_the_search_tells_what_it_knows() -> None:
    problem = csp.max_2_sat(24, 140, 1)
    seen: list[tuple[int, float, float]] = []
    solution = problem.solve(2, cuts="none", watch=lambda *told: seen.append(told))
    assert [nodes for nodes, _, _ in seen] == [1, 3, 5]
    assert all(value <= solution.value <= bound + 1e-6 for _, value, bound in seen)
    seen.clear()
    proven = problem.prove(watch=lambda *told: seen.append(told))
    assert seen
    assert seen[-1][0] == proven.nodes
    assert all(proven.value <= bound + 1e-6 for _, _, bound in seen)
