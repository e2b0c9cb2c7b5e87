"""What the pages of studies without training share: a drawn figure, the config, its name."""

from __future__ import annotations

import base64

from matplotlib.figure import Figure

from pipeline.reports.figures.drawing import to_svg
from pipeline.results.folder import CONFIG_FILE, RunFolder


def drawn(name: str, title: str, figure: Figure, describe: str) -> dict[str, str]:
    """A figure as the template `drawing` takes it."""
    source = f"data:image/svg+xml;base64,{base64.b64encode(to_svg(figure)).decode()}"
    return {"name": name, "title": title, "source": source, "describe": describe}


def config_text(folder: RunFolder) -> str:
    """The run's sweep.yaml; empty where it is gone."""
    try:
        return folder.read(CONFIG_FILE).decode(errors="replace")
    except FileNotFoundError:
        return ""


def name_of(folder: RunFolder, otherwise: str) -> str:
    """The sweep's name, as its config says it."""
    lines = [line for line in config_text(folder).splitlines() if line.startswith("name:")]
    return lines[0].removeprefix("name:").strip().strip("'\"") if lines else otherwise
