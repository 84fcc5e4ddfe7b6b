"""A trained model on disk: `model.safetensors` and `checkpoint.json`, loaded strictly.

Nothing is unpickled. The digest covers the weights and everything that turns them into numbers
(architecture, channels, scales), so equal digests mean equal predictions.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load, save

from stvd.conditioning import Channels
from stvd.model import STVD, ModelConfig
from stvd.sampling import SolverChoice

WEIGHTS, CARD = "model.safetensors", "checkpoint.json"
FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be trusted or does not fit."""


class GridContract(BaseModel):
    """The grids and time steps the model was trained on, and so may serve.

    Parameters
    ----------
    factor : fine cells a coarse cell
    step_seconds : shortest and longest frame
    spacing_km : smallest and largest fine grid spacing
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: int
    step_seconds: tuple[int, int]
    spacing_km: tuple[float, float]

    def joined(self, other: GridContract) -> GridContract:
        """What serves the grids and steps of both, which have one factor."""
        steps = (*self.step_seconds, *other.step_seconds)
        spacings = (*self.spacing_km, *other.spacing_km)
        return GridContract(
            factor=self.factor,
            step_seconds=(min(steps), max(steps)),
            spacing_km=(min(spacings), max(spacings)),
        )

    def require(self, *, factor: int, step_seconds: int, spacing_km: float) -> None:
        """Raise `CheckpointError` unless a source fits; the spacing may be off by a factor of 1.5."""
        problems = []
        if factor != self.factor:
            problems.append(f"factor {factor}, trained at {self.factor}")
        low, high = self.step_seconds
        if not low <= step_seconds <= high:
            problems.append(f"frames of {step_seconds} s, trained at {low} to {high} s")
        fine, wide = self.spacing_km
        if not fine / 1.5 <= spacing_km <= wide * 1.5:
            problems.append(
                f"grid spacing {spacing_km:.3g} km, trained at {fine:.3g} to {wide:.3g} km"
            )
        if problems:
            raise CheckpointError(
                f"the source does not fit the checkpoint: {'; '.join(problems)}. Use a checkpoint "
                "trained for this grid, or train one (stvd train)"
            )


class AnyCard(BaseModel):
    """What `checkpoint.json` holds, of whatever network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    name: str
    model: BaseModel
    channels: Channels
    grid: GridContract
    training: dict[str, Any]
    weights_sha256: str
    digest: str

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read `checkpoint.json` alone: cheap, and it needs no weights.

        Raises
        ------
        CheckpointError
            If it is missing, malformed, of another format or kind of network, or its digest does not
            match its content.
        """
        path = Path(folder) / CARD
        if not path.is_file() or not (Path(folder) / WEIGHTS).is_file():
            raise CheckpointError(f"{folder} is no checkpoint: it needs {WEIGHTS} and {CARD}")
        try:
            card = cls.model_validate_json(path.read_text())
        except ValidationError as error:
            raise CheckpointError(
                f"{path} is not a checkpoint card of format {FORMAT}: {error}"
            ) from None
        if card.format != FORMAT:
            raise CheckpointError(
                f"{path} has format {card.format}; this version reads format {FORMAT}"
            )
        if card.digest != _digest(card.weights_sha256, card.model, card.channels):
            raise CheckpointError(f"{path} was altered: its digest does not match its content")
        return card

    @classmethod
    def publish(
        cls,
        folder: str | Path,
        network: torch.nn.Module,
        *,
        name: str,
        model: BaseModel,
        channels: Channels,
        grid: GridContract,
        training: dict[str, Any],
        **rest: Any,
    ) -> None:
        """Write both files of a checkpoint, the weights as float16 in safetensors.

        Parameters
        ----------
        rest : what the card of this kind of network holds beside these
        """
        folder = Path(folder)
        data = save({k: v.half().contiguous() for k, v in network.state_dict().items()})
        sha = hashlib.sha256(data).hexdigest()
        card = cls(
            name=name,
            model=model,
            channels=channels,
            grid=grid,
            training=training,
            weights_sha256=sha,
            digest=_digest(sha, model, channels),
            **rest,
        )
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / WEIGHTS, data)
        write_atomically(folder / CARD, (card.model_dump_json(indent=2) + "\n").encode())


class Card(AnyCard):
    """What `checkpoint.json` of an STVD holds.

    Parameters
    ----------
    sampler : that it is sampled with where none is asked for
    distilled : that it is sampled with this one and no other (`stvd.distillation`)
    """

    model: ModelConfig
    sampler: SolverChoice = SolverChoice()
    distilled: bool = False

    def require_sampler(self, asked: SolverChoice) -> None:
        """Raise `CheckpointError` where a distilled network is to be sampled as it was not trained to be."""
        own = self.sampler
        if self.distilled and (asked.solver, asked.steps) != (own.solver, own.steps):
            raise CheckpointError(
                f"{self.name} was distilled to {own.steps} calls of {own.solver}, and {asked.steps} of "
                f"{asked.solver} are asked for: leave solver and steps empty, or take the checkpoint that "
                "it was distilled from"
            )


@dataclass(frozen=True)
class Checkpoint:
    """A trained STVD with all that is needed to use it."""

    card: Card
    network: STVD

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def digest(self) -> str:
        return self.card.digest

    @property
    def channels(self) -> Channels:
        return self.card.channels

    @property
    def window(self) -> int:
        return self.card.model.window

    @classmethod
    def load(cls, folder: str | Path) -> Checkpoint:
        """Read a checkpoint for inference, on the CPU, in float32.

        Raises
        ------
        CheckpointError
            If a file is missing, truncated, altered, of another format or of another architecture.
        """
        card = Card.read(folder)
        network = card.model.build()
        load_weights(network, Path(folder), card.weights_sha256)
        return cls(card, network)

    @classmethod
    def create(
        cls,
        name: str,
        network: STVD,
        channels: Channels,
        grid: GridContract,
        training: dict[str, Any],
        folder: str | Path,
        sampler: SolverChoice | None = None,
        distilled: bool = False,
    ) -> Checkpoint:
        """Write a checkpoint and load it back, so that what is used is what ships."""
        Card.publish(
            folder,
            network,
            name=name,
            model=network.config,
            channels=channels,
            grid=grid,
            training=training,
            sampler=sampler or SolverChoice(),
            distilled=distilled,
        )
        return cls.load(folder)

    def ending_in_a_line(self, rate: float, folder: str | Path) -> Checkpoint:
        """Write the same network with a transform that is a straight line from `rate` on, kg m-2 s-1."""
        rain = self.channels.rain.model_copy(update={"linear_from": rate})
        channels, card = self.channels.model_copy(update={"rain": rain}), self.card
        return Checkpoint.create(
            self.name,
            self.network,
            channels,
            card.grid,
            card.training,
            folder,
            card.sampler,
            distilled=card.distilled,
        )


def load_weights(network: torch.nn.Module, folder: Path, sha256: str) -> None:
    """Load the weights in `folder` strictly, in float32, and make the network ready for inference.

    Raises
    ------
    CheckpointError
        If the file is not the one of this digest, or holds another architecture.
    """
    data = _read_weights(folder, sha256)
    try:
        network.load_state_dict({k: v.float() for k, v in load(data).items()}, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{folder / WEIGHTS} holds another architecture than {CARD} says: {error}"
        ) from None
    network.eval().requires_grad_(False)


def verify(folder: str | Path, digest: str) -> Card:
    """The card of a folder that holds, byte for byte, the checkpoint of a known digest.

    Raises
    ------
    CheckpointError
        If it holds another one, or a file is missing, truncated or altered.
    """
    card = Card.read(folder)
    if card.digest != digest:
        raise CheckpointError(
            f"{folder} holds the checkpoint of digest {card.digest[:12]}…, and {digest[:12]}… is wanted. "
            "Restore both files from where they were published"
        )
    _read_weights(Path(folder), card.weights_sha256)
    return card


def _read_weights(folder: Path, sha256: str) -> bytes:
    """The file of weights, if it is the one of this digest."""
    data = (folder / WEIGHTS).read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise CheckpointError(
            f"{folder / WEIGHTS} is not the file its card describes: sha256 {found[:12]}…, "
            f"card {sha256[:12]}…. Restore both files from where they were published"
        )
    return data


def _digest(weights_sha256: str, model: BaseModel, channels: Channels) -> str:
    """Digest of all that decides the numbers of a network."""
    # Without defaults: an option that is added later leaves the digest of older checkpoints alone.
    content = [
        weights_sha256,
        model.model_dump(mode="json", exclude_defaults=True),
        channels.model_dump(mode="json", exclude_defaults=True),
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a killed run, finds the old one or the new one, never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def count_parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
