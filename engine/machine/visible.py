"""Which GPUs a process may use: CUDA_VISIBLE_DEVICES as CUDA reads it, and the user's own choice. Pure."""

from collections.abc import Sequence

from engine.machine.gpus import Gpu

PCI_ORDER = "PCI_BUS_ID"
"""Value of CUDA_DEVICE_ORDER with which CUDA numbers cards as nvidia-smi does; without it, the fastest come first."""


def visible(setting: str | None, gpus: Sequence[Gpu], order: Sequence[str] = ()) -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES allows, in its order.

    An empty value allows none. An entry that names no GPU, or several, hides itself and all that follow; a GPU that is
    named twice hides everything. An index, or a card's UUID, means the first slice of a card that is cut into slices.

    Args:
        setting: the variable's value; None where it is not set.
        gpus: all there are, by PCI address.
        order: UUIDs of the cards as CUDA numbers them, where that is not by PCI address.
    """
    if setting is None:
        return tuple(gpus)
    numbered = _numbered(gpus, order)
    named: list[Gpu] = []
    for entry in setting.split(","):
        gpu = _entry(entry.strip(), gpus, numbered)
        if gpu is None:
            break
        if gpu in named:
            return ()
        named.append(gpu)
    return tuple(named)


def depends_on_order(setting: str | None, device_order: str, gpus: Sequence[Gpu]) -> bool:
    """Say whether a setting depends on how CUDA numbers the cards: it holds an index, and the cards differ."""
    by_index = setting is not None and any(entry.strip().isdecimal() for entry in setting.split(","))
    return by_index and device_order.strip() != PCI_ORDER and len({gpu.name for gpu in gpus}) > 1


def fastest_first(gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """Return the UUIDs of unlike cards in the order that CUDA most likely has, for when CUDA cannot be queried."""
    cards = {gpu.card or gpu.uuid: gpu for gpu in reversed(gpus)}
    ranked = sorted(cards.values(), key=lambda gpu: gpu.index)
    ranked.sort(key=lambda gpu: (gpu.capability or (0, 0), gpu.memory_total or 0), reverse=True)
    return tuple(gpu.card or gpu.uuid for gpu in ranked)


def chosen(text: str, gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Return the GPUs that a user names: `1,3` as nvidia-smi numbers them, `1:0` a slice, a UUID or its beginning.

    Args:
        text: empty for all, `none` for none.
        gpus: those that the environment allows.

    Raises:
        ValueError: one of them is not there; one sentence says which there are.
    """
    if text.strip().lower() == "none":
        return ()
    if not text.strip():
        return tuple(gpus)
    wanted: dict[str, Gpu] = {}
    for entry in filter(None, (word.strip().lower().removeprefix("gpu") for word in text.split(","))):
        named = [gpu for gpu in gpus if _is_named(entry, gpu)]
        if not named:
            known = ", ".join(gpu.label.removeprefix("gpu") for gpu in gpus) or "none"
            raise ValueError(f"There is no GPU {entry[:40]!r} to be used; those that may be are: {known}.")
        wanted |= {gpu.uuid: gpu for gpu in named}
    return tuple(wanted.values())


def _is_named(entry: str, gpu: Gpu) -> bool:
    """Say whether `entry`, in lower case and without a leading `gpu`, names a GPU."""
    card, _, part = entry.partition(":")
    if card.isdecimal():
        return gpu.index == int(card) and (not part or part == str(gpu.slice))
    prefix = entry if entry.startswith("mig-") else f"gpu{entry}"
    return gpu.uuid.lower().startswith(prefix)


def _numbered(gpus: Sequence[Gpu], order: Sequence[str]) -> list[Gpu]:
    """Return the first GPU of each card, as CUDA numbers them."""
    cards: dict[str, Gpu] = {}
    for gpu in gpus:
        cards.setdefault(gpu.card or gpu.uuid or gpu.label, gpu)
    known = [cards[uuid] for uuid in order if uuid in cards]
    return [*known, *(gpu for gpu in cards.values() if gpu not in known)]


def _entry(entry: str, gpus: Sequence[Gpu], numbered: Sequence[Gpu]) -> Gpu | None:
    if entry.isdecimal():
        return numbered[int(entry)] if int(entry) < len(numbered) else None
    if entry.startswith("MIG-GPU-"):  # of drivers before 470: MIG-GPU-UUID/instance/compute instance
        card = entry.removeprefix("MIG-").partition("/")[0]
        return next((gpu for gpu in gpus if entry == gpu.uuid or (gpu.card and gpu.card == card)), None)
    if entry.startswith("MIG-"):
        named = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
    elif entry.startswith("GPU-"):
        named = [gpu for gpu in numbered if (gpu.card or gpu.uuid).startswith(entry)]
    else:
        return None
    return named[0] if len(named) == 1 else None
