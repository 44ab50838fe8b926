"""The build hook: compile the kernels when the package is built or installed.

Without a compiler, or where one fails, the package is built without kernels and torch serves:
an installation never fails for this. `aat doctor` tells the reason. AAT_BUILD_NATIVE=0 in the
environment leaves the kernels out.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

PLACE = "adaptive_attention_tiling/backends/native/libraries"


class KernelBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into the source tree for an editable installation, else into the wheel."""
        program = load_program(Path(self.root))
        editable = version == "editable"
        into = program.PACKAGE_LIBRARIES if editable else program.BUILD / "wheel_libraries"
        try:
            error = program.build_or_tell(into)
        except OSError as refused:  # sources that may not be written to, a full disk
            error = refused
        if error is not None:
            self.app.display_warning(f"Native kernels were not built, torch serves: {error}")
        else:
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform_tag()}"
        if not editable and into.is_dir():
            for path in sorted(into.iterdir()):
                build_data["force_include"][str(path)] = f"{PLACE}/{path.name}"


def load_program(root: Path) -> ModuleType:
    """csrc/build.py as a module, whatever the path of imports holds."""
    spec = importlib.util.spec_from_file_location("csrc_build", root / "csrc/build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def platform_tag() -> str:
    """This platform as wheels name it; of Linux's names the one that promises nothing."""
    return next(tag for tag in platform_tags() if "manylinux" not in tag and "musllinux" not in tag)
