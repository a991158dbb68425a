"""`pip install .` of n3d_core without ROS. Settings are in pyproject.toml; here the shipped model joins the wheel."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

MODELS = Path(__file__).parent / "models"


class BuildWithModels(build_py):
    """Copies `models/` into the wheel as `n3d_core/shipped`; an editable install finds it in the checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree(MODELS, Path(self.build_lib, "n3d_core", "shipped"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithModels})
