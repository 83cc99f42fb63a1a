"""Write ONNX files of architectures that people use, by each exporter and many opsets.

Needs `pip install torch torchvision timm transformers onnxscript onnxruntime`, in an environment of
its own: gate depends on none of the last five. Weights are random, from a fixed seed.
"""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch


class Export(NamedTuple):
    """A network, what it is traced on, and how it is written."""

    name: str
    model: Any
    inputs: tuple[torch.Tensor, ...]
    opset: int
    dynamo: bool
    names: tuple[str, ...] = ("images",)


_IMAGES = [  # (library, architecture, side, opset, exporter)
    ("torchvision", "resnet18", 64, 9, "script"),
    ("torchvision", "mobilenet_v2", 64, 10, "script"),
    ("torchvision", "vgg11_bn", 64, 9, "script"),
    ("torchvision", "densenet121", 64, 11, "script"),
    ("torchvision", "squeezenet1_1", 64, 12, "script"),
    ("torchvision", "shufflenet_v2_x0_5", 64, 13, "script"),
    ("torchvision", "mobilenet_v3_small", 64, 14, "script"),
    ("torchvision", "efficientnet_b0", 64, 15, "script"),
    ("torchvision", "regnet_y_400mf", 64, 16, "script"),
    ("torchvision", "convnext_tiny", 64, 17, "script"),
    ("torchvision", "swin_t", 64, 17, "script"),
    ("torchvision", "vit_b_32", 224, 14, "script"),
    ("torchvision", "googlenet", 64, 13, "script"),
    ("torchvision", "mnasnet0_5", 64, 11, "script"),
    ("torchvision", "alexnet", 64, 18, "dynamo"),
    ("torchvision", "resnet18", 64, 18, "dynamo"),
    ("timm", "efficientnet_lite0", 64, 18, "dynamo"),
    ("timm", "vit_tiny_patch16_224", 224, 19, "dynamo"),
    ("timm", "deit_tiny_patch16_224", 224, 20, "dynamo"),
    ("timm", "convnext_atto", 64, 20, "dynamo"),
    ("timm", "mixer_s32_224", 224, 21, "dynamo"),
    ("timm", "resmlp_12_224", 224, 21, "dynamo"),
    ("timm", "levit_128s", 224, 22, "dynamo"),
    ("timm", "mobilenetv4_conv_small", 64, 22, "dynamo"),
    ("timm", "fastvit_t8", 64, 23, "dynamo"),
    ("timm", "edgenext_xx_small", 64, 23, "dynamo"),
    ("timm", "poolformerv2_s12", 64, 18, "dynamo"),
    ("timm", "regnetz_b16", 64, 18, "dynamo"),
    ("timm", "tinynet_e", 64, 17, "script"),
    ("timm", "xcit_nano_12_p16_224", 224, 17, "script"),
    ("timm", "ghostnet_050", 64, 12, "script"),
    ("timm", "nf_resnet26", 64, 16, "script"),
]
_TEXTS = [
    ("BertModel", 14, "script"),
    ("DistilBertModel", 18, "dynamo"),
    ("RobertaModel", 17, "script"),
]
_SMALL = {  # settings of the three, each of which knows some
    "vocab_size": 200,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 64,
}


def exports() -> Iterator[Export]:
    """Each, made when it is asked for."""
    import timm
    import torchvision

    for library, name, side, opset, exporter in _IMAGES:
        torch.manual_seed(0)
        if library == "timm":
            model = timm.create_model(name, pretrained=False, num_classes=12)
        else:
            more = {"init_weights": True, "aux_logits": False} if name == "googlenet" else {}
            model = getattr(torchvision.models, name)(num_classes=12, **more)
        images = torch.rand(2, 3, side, side)
        yield Export(f"{library}_{name}", model.eval(), (images,), opset, exporter == "dynamo")
    yield from _texts()


def _texts() -> Iterator[Export]:
    import transformers

    for name, opset, exporter in _TEXTS:
        torch.manual_seed(0)
        kind = getattr(transformers, name)
        config = kind.config_class(**_SMALL)
        config._attn_implementation = "eager"
        model = kind(config).eval()
        ids = torch.randint(0, 200, (2, 8))
        yield Export(
            f"transformers_{name}",
            _Last(model),
            (ids, torch.ones_like(ids)),
            opset,
            exporter == "dynamo",
            ("input_ids", "attention_mask"),
        )


class _Last(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        given = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return torch.as_tensor(given.last_hidden_state)


def write(export: Export, folder: Path) -> Path:
    """The file of an export, written unless it is there."""
    kind = "dynamo" if export.dynamo else "script"
    path = folder / f"{export.name}-{export.opset}-{kind}.onnx"
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    options: dict[str, Any] = {"opset_version": export.opset, "input_names": list(export.names)}
    axes = ("batch",) if len(export.names) == 1 else ("batch", "tokens")
    if export.dynamo:
        sizes = {"batch": (1, 4096), "tokens": (2, 512)}
        free = {
            axis: torch.export.Dim(name, min=sizes[name][0], max=sizes[name][1])
            for axis, name in enumerate(axes)
        }
        options |= {"dynamic_shapes": (free,) * len(export.names), "external_data": False}
    else:
        options["dynamic_axes"] = {name: dict(enumerate(axes)) for name in export.names}
    torch.onnx.export(export.model, export.inputs, str(partial), dynamo=export.dynamo, **options)
    partial.rename(path)
    return path


def main(folder: Path) -> None:
    """Write what can be exported, and say of the rest why not."""
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for export in exports():
        try:
            print(write(export, folder).name, flush=True)
        except Exception as fault:  # exporters raise what they like
            print(f"{export.name}: not exported: {str(fault).splitlines()[0]}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
