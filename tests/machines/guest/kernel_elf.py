"""Unpack a bzImage to the ELF inside it. Usage: kernel_elf.py VMLINUZ VMLINUX

QEMU boots the ELF directly by its PVH note, which saves the emulated CPU the self-decompression (3 s of 6).
"""

import lzma
import subprocess
import sys
import zlib
from pathlib import Path

MAGIC = {b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b\x08": "gzip"}


def unpacked(kind: str, packed: bytes) -> bytes:
    """What `packed` starts with, unpacked; empty when it is not really of that kind."""
    try:
        if kind == "xz":
            return lzma.LZMADecompressor().decompress(packed)
        if kind == "gzip":
            return zlib.decompressobj(31).decompress(packed)
    except (lzma.LZMAError, zlib.error):
        return b""
    return subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=False).stdout


def elf_inside(image: bytes) -> bytes | None:
    """The first ELF packed in `image`. The magics may also occur by chance, so every place is tried."""
    for magic, kind in MAGIC.items():
        at = image.find(magic)
        while at >= 0:
            elf = unpacked(kind, image[at:])
            if elf.startswith(b"\x7fELF"):
                return elf
            at = image.find(magic, at + 1)
    return None


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    elf = elf_inside(source.read_bytes())
    if elf is None:
        sys.exit(f"kernel_elf: no ELF found in {source}")
    target.write_bytes(elf)


main()
