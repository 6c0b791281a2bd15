"""Look into a checkpoint before anything of it is run.

A `.pt` file is a zip archive whose `data.pkl` is a pickle, and unpickling runs whatever the file names. The scan
reads the opcodes without executing them (`pickletools`) and refuses every name that a YOLO checkpoint does not
need, and every call of a model class: real checkpoints only make bare instances and fill them in. The archive
must be unambiguous too, because two readers that disagree about it would scan one pickle and load another.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import WeightsUnavailable

__all__ = ["scan"]

_LIMIT_BYTES = 64 * 2**20
_STORAGES = ("Bool", "Byte", "Char", "Short", "Int", "Long", "Half", "BFloat16", "Float", "Double", "ComplexFloat")
_DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
_VALUES: dict[str, frozenset[str]] = {
    "_codecs": frozenset({"encode"}),  # how protocol 2 writes bytes
    "builtins": frozenset({"set", "frozenset", "dict", "list", "tuple", "slice", "int", "float", "bool", "str"}),
    "collections": frozenset({"OrderedDict", "defaultdict"}),
    "pathlib": frozenset({"Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"}),
    "torch": frozenset({"Size", "Tensor", "device", *(f"{kind}Storage" for kind in _STORAGES), *_DTYPES}),
    "torch._utils": frozenset({"_rebuild_parameter", "_rebuild_tensor_v2"}),
    "torch.nn.parameter": frozenset({"Parameter"}),
    "torch.storage": frozenset({"UntypedStorage"}),
    "numpy": frozenset({"dtype", "ndarray"}),
    "numpy.core.multiarray": frozenset({"scalar", "_reconstruct"}),
    "numpy._core.multiarray": frozenset({"scalar", "_reconstruct"}),
    "ultralytics.utils": frozenset({"IterableSimpleNamespace"}),
}
"""Module -> names that may be called while a checkpoint is unpickled."""

_CLASSES = re.compile(
    r"(torch\.nn\.modules(\.\w+)?|ultralytics\.nn\.modules(\.\w+)?|ultralytics\.utils\.(loss|tal)) [A-Z]\w*"
    r"|ultralytics\.nn\.tasks \w+Model"
)
"""Classes of which only bare instances may be made."""

_MEMO_WRITES = {"PUT", "BINPUT", "LONG_BINPUT"}
_MEMO_READS = {"GET", "BINGET", "LONG_BINGET"}
_UNKNOWN_IMPORTS = {"INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4", "MEMOIZE"}

_Opcode = tuple[str, object]


def scan(path: Path) -> None:
    """Raises WeightsUnavailable, saying why, for a file that is not a harmless YOLO checkpoint."""
    try:
        with path.open("rb") as opened:
            magic = opened.read(4)
        if magic != b"PK\x03\x04":
            raise _refused(path, "it is empty, or not a PyTorch checkpoint (a zip archive)")
        with zipfile.ZipFile(path) as archive:
            data = archive.read(_pickle_entry(path, archive))
        complaint = _complaint(_opcodes(data))
    except OSError as exc:
        raise _refused(path, exc.strerror or str(exc)) from exc
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as exc:
        raise _refused(path, f"it is damaged or cut short ({exc})") from exc
    if complaint is not None:
        raise _refused(path, complaint)


def _refused(path: Path, reason: str) -> WeightsUnavailable:
    return WeightsUnavailable(str(path), reason=f"{path.name} was not loaded: {reason}")


def _pickle_entry(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one pickle of an archive that every reader understands alike."""
    entries = archive.infolist()
    names = [entry.filename.lower() for entry in entries]
    if len(set(names)) != len(names):
        raise _refused(path, "two entries of its archive share a name")
    if any(name.endswith("constants.pkl") for name in names):
        raise _refused(path, "it is a TorchScript archive, not a checkpoint")
    pickles = [entry for entry in entries if entry.filename.lower().endswith("data.pkl")]
    if len(pickles) != 1 or pickles[0].filename.count("/") != 1:
        raise _refused(path, "its archive does not hold exactly one data.pkl")
    if pickles[0].file_size > _LIMIT_BYTES:
        raise _refused(path, f"its data.pkl is larger than {_LIMIT_BYTES // 2**20} MiB")
    return pickles[0]


def _opcodes(data: bytes) -> Iterator[_Opcode]:
    for opcode, argument, _ in pickletools.genops(data):
        yield opcode.name, argument


def _complaint(opcodes: Iterator[_Opcode]) -> str | None:
    """What is wrong with a pickle, or None. Follows model classes onto the stack, into the memo and back."""
    memo: dict[object, str] = {}
    pushed: str | None = None  # the model class on top of the stack
    expected: str | None = None  # the opcode that must come next, as a bare instance of it is made
    for name, argument in opcodes:
        if name in _MEMO_WRITES:
            memo.pop(argument, None)
            if pushed is not None and expected == "EMPTY_TUPLE":
                memo[argument] = pushed
        elif expected is not None:
            if name != expected:
                return f"it calls {pushed}, where a checkpoint only restores it"
            expected = "NEWOBJ" if expected == "EMPTY_TUPLE" else None
        else:
            if (complaint := _import_complaint(name, argument)) is not None:
                return complaint
            pushed = memo.get(argument) if name in _MEMO_READS else _model_class(name, argument)
            expected = "EMPTY_TUPLE" if pushed is not None else None
    return None


def _import_complaint(name: str, argument: object) -> str | None:
    if name in _UNKNOWN_IMPORTS:
        return f"it uses the pickle opcode {name}, which checkpoints do not need"
    if name == "GLOBAL" and _model_class(name, argument) is None:
        module, _, what = _modern(argument).partition(" ")
        if what not in _VALUES.get(module, frozenset()):
            return f"it names {module}.{what}, which a YOLO checkpoint does not need"
    return None


def _model_class(name: str, argument: object) -> str | None:
    imported = _modern(argument)
    return imported.replace(" ", ".") if name == "GLOBAL" and _CLASSES.fullmatch(imported) else None


def _modern(argument: object) -> str:
    """`module name` as today's Python calls it; protocol 2 writes Python 2's names."""
    return str(argument).replace("__builtin__ ", "builtins ")
