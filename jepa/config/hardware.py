"""Accelerators whose speed, memory and links are known, for estimates before anything is paid for."""

from dataclasses import dataclass

from jepa.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """One kind of GPU and the machines it is sold in; decimal units, as data sheets have them."""

    bfloat16: float
    """Peak of dense bfloat16 matrix products in FLOP/s, without sparsity."""
    float32: float
    """Peak of float32 in FLOP/s; TF32 stays off, which is torch's default for matrix products."""
    memory: float
    """Bytes. What a device reports beyond these is left to its context, to NCCL and to fragmentation."""
    memory_bandwidth: float
    """Bytes per second."""
    inside: float
    """Bytes per second that one GPU sends to the others of its machine, in one direction."""
    between: float
    """Bytes per second that one GPU's share of its machine's network sends, in one direction."""
    per_machine: int
    """GPUs of one machine."""

    def peak(self, dtype: str) -> float:
        """Return the peak in FLOP/s of float32 or bfloat16."""
        return self.bfloat16 if dtype == "bfloat16" else self.float32


# Data sheets give both directions of a link together; here is one. Networks are those of NVIDIA's own machines.
ACCELERATORS = {
    # NVIDIA H100 data sheet (SXM): 989.4 TFLOP/s dense bfloat16, 67 float32, 80 GB, 3.35 TB/s, NVLink 900 GB/s.
    # DGX H100 data sheet: 8 GPUs, 8 ConnectX-7 of 400 Gb/s for computing.
    "h100": Accelerator(
        bfloat16=989.4e12,
        float32=67e12,
        memory=80e9,
        memory_bandwidth=3.35e12,
        inside=450e9,
        between=50e9,
        per_machine=8,
    ),
    # NVIDIA H200 data sheet (SXM): as H100, with 141 GB and 4.8 TB/s. DGX H200: the network of DGX H100.
    "h200": Accelerator(
        bfloat16=989.4e12,
        float32=67e12,
        memory=141e9,
        memory_bandwidth=4.8e12,
        inside=450e9,
        between=50e9,
        per_machine=8,
    ),
    # NVIDIA A100 data sheet (SXM, 80 GB): 312 TFLOP/s bfloat16, 19.5 float32, 2,039 GB/s, NVLink 600 GB/s.
    # DGX A100 data sheet: 8 GPUs, 8 ConnectX-6 of 200 Gb/s.
    "a100-80": Accelerator(
        bfloat16=312e12,
        float32=19.5e12,
        memory=80e9,
        memory_bandwidth=2.039e12,
        inside=300e9,
        between=25e9,
        per_machine=8,
    ),
    # NVIDIA A100 data sheet (SXM, 40 GB): 1,555 GB/s.
    "a100-40": Accelerator(
        bfloat16=312e12,
        float32=19.5e12,
        memory=40e9,
        memory_bandwidth=1.555e12,
        inside=300e9,
        between=25e9,
        per_machine=8,
    ),
    # NVIDIA Blackwell architecture brief (HGX B200): 2.25 PFLOP/s dense bfloat16, 80 TFLOP/s float32, NVLink
    # 1.8 TB/s. DGX B200 data sheet: 1,440 GB and 64 TB/s for 8 GPUs, 8 links of 400 Gb/s.
    "b200": Accelerator(
        bfloat16=2.25e15,
        float32=80e12,
        memory=180e9,
        memory_bandwidth=8e12,
        inside=900e9,
        between=50e9,
        per_machine=8,
    ),
    # NVIDIA L40S data sheet: 362.05 TFLOP/s dense bfloat16, 91.6 float32, 48 GB, 864 GB/s, no NVLink, PCIe 4.0 x16
    # 64 GB/s. Assumed, as no data sheet says: 8 per machine, 100 Gb/s of network for each.
    "l40s": Accelerator(
        bfloat16=362.05e12,
        float32=91.6e12,
        memory=48e9,
        memory_bandwidth=864e9,
        inside=32e9,
        between=12.5e9,
        per_machine=8,
    ),
    # NVIDIA Ada architecture white paper (GeForce RTX 4090): 165.2 TFLOP/s dense bfloat16 that adds in float32, 82.6
    # float32, 24 GB, 1,008 GB/s, PCIe 4.0 x16. Assumed: 4 per machine with one 10 Gb/s network between them.
    "rtx4090": Accelerator(
        bfloat16=165.2e12,
        float32=82.6e12,
        memory=24e9,
        memory_bandwidth=1.008e12,
        inside=32e9,
        between=0.3125e9,
        per_machine=4,
    ),
    # No data sheet, but arithmetic: 8 cores at 3 GHz with two AVX2 multiply-adds of 8 float32 per cycle, which gain
    # nothing from bfloat16; two channels of DDR4-3200; one process per machine; 10 Gb/s of network.
    "cpu": Accelerator(
        bfloat16=768e9,
        float32=768e9,
        memory=32e9,
        memory_bandwidth=51.2e9,
        inside=1.25e9,
        between=1.25e9,
        per_machine=1,
    ),
}


@dataclass(frozen=True)
class Hardware:
    """So many accelerators of one kind."""

    name: str
    count: int

    @property
    def accelerator(self) -> Accelerator:
        """What is known of each."""
        return ACCELERATORS[self.name]

    @property
    def machines(self) -> int:
        """Machines that hold them."""
        return -(-self.count // self.accelerator.per_machine)

    @property
    def link(self) -> float:
        """Bytes per second that each sends in a ring through all of them.

        Between machines, the network of a whole machine carries the ring of each of its GPUs, as NCCL's rings leave a
        machine through all of its cards in turn; it cannot be faster than the links inside.
        """
        each = self.accelerator
        local = min(self.count, each.per_machine)
        return each.inside if self.machines == 1 else min(each.inside, local * each.between)


def parse_hardware(text: str) -> Hardware:
    """Read NAME or NAME:COUNT; raises ConfigError naming the known accelerators."""
    name, colon, count = text.lower().partition(":")
    if name not in ACCELERATORS:
        raise ConfigError(
            f"--hardware {text}: {name!r} is not a known accelerator; known: {', '.join(ACCELERATORS)}; "
            "write NAME:COUNT, as in h100:64"
        )
    if colon and not (count.isdecimal() and int(count) > 0):
        raise ConfigError(
            f"--hardware {text}: the count must be a whole number of at least 1, got {count!r}; write {name}:8"
        )
    return Hardware(name, int(count) if colon else 1)
