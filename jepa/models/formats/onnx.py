"""Programs in ONNX, which run where neither jepa nor torch is installed."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from jepa.models.formats.program import Program
from jepa.models.functions import TRACED, Function, Run
from jepa.runtime.extras import need

OPSET = 18  # torch's own choice, which needs the fewest conversions and which every current runtime takes
LARGEST = 2**30  # bytes of weights that stay inside the file; protobuf ends at 2 GiB


class Onnx(Program):
    """``PATH.onnx``, or a folder of such; the weights of large ones lie beside it, in ``PATH.onnx.data``."""

    name = "onnx"
    title = "a program in ONNX"
    suffix = ".onnx"
    suffixes = (".onnx",)

    def need(self) -> None:
        """Import onnx, onnxscript and onnxruntime: what cannot be checked is not written."""
        for module in ("onnx", "onnxscript", "onnxruntime"):
            need(module, extra="onnx")

    def is_one(self, path: Path) -> bool:
        """Whether it begins with ONNX's version, field 1 in protobuf."""
        with path.open("rb") as stream:
            return path.suffix == self.suffix and stream.read(1) == b"\x08"

    def how_to_run(self, path: Path) -> str:
        """Say with what the program at ``path`` is run."""
        return f"run it with onnxruntime.InferenceSession({str(path)!r})"

    def write(self, function: Function, path: Path) -> Run:
        """Write one program, with its notes in the metadata, and open it with onnxruntime."""
        inputs = function.inputs(TRACED)
        with warnings.catch_warnings():
            # Inputs share their batch and time on purpose; torch notes for each that it does not name them twice.
            warnings.filterwarnings("ignore", r"# The axis name: \w+ will not be used", UserWarning)
            program = torch.onnx.export(
                function.module,
                (),
                kwargs=inputs,
                dynamic_shapes=function.free_axes(),
                input_names=list(inputs),
                output_names=["output"],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        program.model.metadata_props.update(function.notes())
        weights = sum(tensor.nbytes for tensor in function.module.state_dict().values())
        program.save(path, external_data=weights > LARGEST)
        session = need("onnxruntime", extra="onnx").InferenceSession(path, providers=["CPUExecutionProvider"])

        def run(values: Mapping[str, Tensor]) -> Tensor:
            arrays = {name: value.numpy() for name, value in values.items()}
            return torch.from_numpy(session.run(None, arrays)[0])

        return run
