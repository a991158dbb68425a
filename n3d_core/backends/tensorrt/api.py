"""TensorRT's Python modules, `tensorrt` (10.3 to 11) and `tensorrt_rtx`, and the differences between them."""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n3d_core.atomic_write import write_bytes
from n3d_core.backends.export.precision import Precision
from n3d_core.errors import EngineError, MissingDependencyError

log = logging.getLogger("n3d.tensorrt")

MODULES = ("tensorrt", "tensorrt_rtx")
_OLDEST = (10, 3)  # strongly typed networks, and what the lowered graphs need
_ROTARY_PARSED = (10, 15, 1)  # Attention is parsed from 10.14, RotaryEmbedding and TensorScatter from 10.15.1
_NO_DRIVER = "CUDA driver version"
_BUILT_THERE = {
    "sm_87": "a Jetson Orin builds its own: run this command there, with JetPack 6 and its TensorRT 10.3 (--lower)",
    "sm_110": "a Jetson Thor builds its own: run this command there, with JetPack 7 and its TensorRT",
    "sm_90": "a machine with that GPU (H100, H200, GH200) and the `tensorrt` package builds it",
    "sm_100": "a machine with that GPU (B200, GB200) and the `tensorrt` package builds it",
}


@dataclass(frozen=True)
class TensorRT:
    """One of the two modules.

    Attributes:
        module: the Python module.
        name: `tensorrt` or `tensorrt_rtx`.
    """

    module: Any
    name: str

    @classmethod
    def installed(cls) -> TensorRT:
        """The installed module; `tensorrt` before `tensorrt_rtx`.

        Raises:
            MissingDependencyError: if none is usable.
        """
        return cls.all_installed()[0]

    @classmethod
    def all_installed(cls) -> list[TensorRT]:
        """Every installed module, at least one; see `installed`."""
        found, refused = [], []
        for name in MODULES:
            try:
                made = cls(importlib.import_module(name), name)
            except ModuleNotFoundError as error:
                if error.name not in (name, None):  # otherwise it is not installed
                    refused.append(f"{name} cannot be imported ({error})")
            except (ImportError, OSError) as error:  # its libraries are missing, or another driver's
                refused.append(f"{name} cannot be imported ({error})")
            else:
                if made.is_rtx or made.release >= _OLDEST:
                    found.append(made)
                else:
                    refused.append(f"{name} {made.version} is too old: 10.3 (JetPack 6.1) or newer is needed")
        if not found:
            raise MissingDependencyError(
                f"TensorRT {'cannot be used: ' + '; '.join(refused) if refused else 'is not installed'}: pip install "
                "'n3d-ros[tensorrt]' (RTX cards); on a Jetson it comes with JetPack"
            )
        return found

    @classmethod
    def that_builds(cls, targets: Sequence[str], local: str | None) -> TensorRT:
        """The first module that can build for all the given architectures; see `check_target`.

        Raises:
            MissingDependencyError, EngineError: the last module's error, if none can.
        """
        refused: list[EngineError] = []
        for made in cls.all_installed():
            try:
                for target in targets:
                    made.check_target(target, local)
            except EngineError as error:
                refused.append(error)
                continue
            if refused:
                log.warning("building with %s %s: %s", made.name, made.version, refused[0])
            return made
        raise refused[-1]

    @property
    def version(self) -> str:
        """Of the module."""
        return str(self.module.__version__)

    @property
    def release(self) -> tuple[int, ...]:
        """The version as numbers."""
        return tuple(int(n) for n in re.findall(r"\d+", self.version)[:4])

    @property
    def is_rtx(self) -> bool:
        """Whether it builds for RTX GPUs other than the local one, but not for data-centre GPUs or Jetsons."""
        return self.name == "tensorrt_rtx"

    def needs_lowering(self, precision: Precision) -> str | None:
        """Why the graph must be lowered to opset 19's primitives; None if the canonical graph works."""
        if not hasattr(self.module, "IKVCacheUpdateLayer") or (not self.is_rtx and self.release < _ROTARY_PARSED):
            return f"{self.name} {self.version} does not support RotaryEmbedding, TensorScatter and Attention"
        if precision.compute == "fp32":
            return f"{self.name} has no fused attention in fp32"
        return None

    def network_flags(self) -> int:
        """Flags for `create_network`: strongly typed, the only mode of TensorRT 11, which dropped the flag."""
        flag = getattr(self.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return 0 if flag is None else 1 << int(flag)

    def check_target(self, target: str, local: str | None) -> None:
        """Checks that this module can build for a GPU architecture.

        Args:
            target: such as `sm_86`.
            local: architecture of this machine's GPU; None without one.

        Raises:
            EngineError: if it cannot; the message says which machine can.
        """
        if not re.fullmatch(r"sm_\d{2,3}", target):
            raise EngineError(f"target must be a GPU architecture such as sm_86, sm_89 or sm_120; got {target!r}")
        if target in self.targets(local):
            return
        there = _BUILT_THERE.get(target, "build it on a machine with that GPU and the `tensorrt` package")
        able = ", ".join(self.targets(local)) or "nothing without a GPU"
        raise EngineError(f"target {target}: {self.name} {self.version} on this machine builds {able}; {there}")

    def targets(self, local: str | None) -> list[str]:
        """Architectures that this module can build for on this machine."""
        if not self.is_rtx:
            return [local] if local else []
        names = [n for n in dir(self.module.ComputeCapability) if re.fullmatch(r"SM\d+", n)]
        return [f"sm_{n[2:]}" for n in sorted(names, key=lambda n: int(n[2:]))]

    def set_target(self, config: Any, target: str) -> None:
        """Sets the architecture in a builder's config; classic TensorRT always builds for the local GPU."""
        if self.is_rtx:
            config.num_compute_capabilities = 1
            if config.set_compute_capability(getattr(self.module.ComputeCapability, f"SM{target[3:]}"), 0) is False:
                raise EngineError(f"{self.name} {self.version} rejects the target {target}")

    def logger(self) -> Any:
        """A TensorRT logger that writes to Python's logging and keeps errors in `.errors`."""
        trt = self.module
        errors = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)  # warnings are hints, and every build has many

        class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)
                self.errors: list[str] = []

            def log(self, severity: Any, message: str) -> None:
                level = logging.ERROR if severity in errors else logging.DEBUG
                if level >= logging.ERROR:
                    self.errors.append(" ".join(message.split()))
                # A machine without a GPU has no driver, which is fine for building engines for other machines.
                harmless = level < logging.ERROR or _NO_DRIVER in message
                log.log(logging.DEBUG if harmless else logging.ERROR, message)

            def reason(self) -> str:
                """The last errors, for use in a message."""
                told = [error for error in self.errors if _NO_DRIVER not in error] or self.errors
                return "; ".join(dict.fromkeys(told[-3:])) or "no reason given"

        return Logger()


def keep(path: Path, data: bytes, what: str) -> bool:
    """Saves what only makes something faster; a failure is logged and returned as False."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)
    except OSError as error:
        log.warning("%s: cannot save %s (%s)", path, what, error.strerror)
        return False
    return True


def local_architecture(device: str = "") -> str | None:
    """Architecture such as `sm_89` of a local GPU (see `base.gpu`); None if torch has no usable GPU."""
    import torch

    from n3d_core.backends.base import gpu

    found = gpu(device)
    if found is None:
        return None
    major, minor = torch.cuda.get_device_capability(found)
    return f"sm_{major}{minor}"
