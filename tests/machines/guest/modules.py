"""Copy kernel modules and what they need, unpacked. Usage: modules.py MODULES_FOLDER OUT NAME...

Writes OUT/order, the order for insmod. Dependencies come from each module's own `depends=`: Debian's package
holds no modules.dep, and the guest has no modprobe.
"""

import lzma
import re
import sys
from pathlib import Path


def plain(name: str) -> str:
    """The kernel treats - and _ alike in module names."""
    return name.replace("-", "_")


def in_order(folder: Path, names: list[str]) -> dict[str, bytes]:
    """Name to unpacked module, dependencies first, without built-in ones. KeyError: no such module."""
    packed = {plain(file.name.split(".ko")[0]): file for file in folder.rglob("*.ko*")}
    built_in = {plain(Path(line).stem) for line in (folder / "modules.builtin").read_text().splitlines()}
    found: dict[str, bytes] = {}

    def need(name: str) -> None:
        if name in found or name in built_in:
            return
        blob = packed[name].read_bytes()
        if packed[name].suffix == ".xz":
            blob = lzma.decompress(blob)
        depends = re.search(rb"\0depends=([^\0]*)", blob)
        for other in depends[1].decode().split(",") if depends and depends[1] else []:
            need(plain(other))
        found[name] = blob

    for name in names:
        need(plain(name))
    return found


def main() -> None:
    folder, out = map(Path, sys.argv[1:3])
    modules = in_order(folder, sys.argv[3:])
    for name, blob in modules.items():
        (out / f"{name}.ko").write_bytes(blob)
    (out / "order").write_text("".join(f"{name}.ko\n" for name in modules))


main()
