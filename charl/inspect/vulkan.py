"""What keeps a GPU of this Linux machine from being an adapter: the loader, a driver, permissions."""

from __future__ import annotations

import ctypes.util
import os
import sys
from collections.abc import Collection
from pathlib import Path

FOLDERS = ("etc/vulkan/icd.d", "usr/share/vulkan/icd.d", "usr/local/share/vulkan/icd.d")
VARIABLES = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")
DISPLAY = "0x03"  # how the PCI class of a display controller begins
VENDORS = {
    0x10DE: (
        "NVIDIA",
        "its driver has one (Debian: nvidia-vulkan-icd; in a container, "
        "NVIDIA_DRIVER_CAPABILITIES must name graphics)",
    ),
    0x1002: ("AMD", "Debian: apt install mesa-vulkan-drivers"),
    0x8086: ("Intel", "Debian: apt install mesa-vulkan-drivers"),
}


def lacks(vendors: Collection[int], root: Path = Path("/")) -> list[str]:
    """A line for each thing that is missing, with its remedy. vendors: PCI numbers of those whose
    GPUs are adapters already.
    """
    if sys.platform != "linux":
        return []
    found = []
    if ctypes.util.find_library("vulkan") is None:
        found.append("the Vulkan loader is missing; Debian: apt install libvulkan1")
    set_by = [name for name in VARIABLES if os.environ.get(name)]
    for name in set_by:
        for file in os.environ[name].split(":"):
            if file and not Path(file).exists():
                found.append(f"{name} names {file}, which is not there")
    if not set_by and not any(any((root / folder).glob("*.json")) for folder in FOLDERS):
        found.append(
            "there is no Vulkan driver (ICD) in /usr/share/vulkan/icd.d; "
            "Debian: apt install mesa-vulkan-drivers, or NVIDIA's driver"
        )
    for vendor in sorted(set(_gpus(root)) - set(vendors)):
        name, remedy = VENDORS[vendor]
        found.append(f"a GPU of {name} is here, but no Vulkan driver of it; {remedy}")
    for node in sorted((root / "dev/dri").glob("renderD*")):
        if not os.access(node, os.R_OK | os.W_OK):
            found.append(f"{node} may not be opened by this user: usermod -aG render $USER")
    return found


def _gpus(root: Path) -> list[int]:
    """Vendors of the display controllers on the PCI bus."""
    found = []
    for device in (root / "sys/bus/pci/devices").glob("*"):
        try:
            kind = (device / "class").read_text().strip()
            vendor = int((device / "vendor").read_text(), 16)
        except (OSError, ValueError):
            continue
        if kind.startswith(DISPLAY) and vendor in VENDORS:
            found.append(vendor)
    return found
