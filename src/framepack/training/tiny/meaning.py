"""Keep the text encoder from merging words that mean different things.

While the transformer cannot yet use the difference between two words ("clockwise" and
"counterclockwise", say), nothing keeps their encodings apart; once they have drifted together
the transformer never learns to. A reader that names what a caption means, from its encoding
alone, holds them apart. It is trained along and not shipped.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from framepack.training.tiny.components import TEXT_WIDTH
from framepack.training.tiny.world import (
    CAMERA_MOTIONS,
    SPRITE_BACKGROUNDS,
    SPRITE_COLOURS,
    SPRITE_MOTIONS,
    SPRITE_SHAPES,
)

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "camera": tuple(CAMERA_MOTIONS),
    "shape": SPRITE_SHAPES,
    "colour": tuple(SPRITE_COLOURS),
    "motion": tuple(SPRITE_MOTIONS),
    "background": tuple(SPRITE_BACKGROUNDS),
}
_UNSAID = -1

Meaning = Mapping[str, str]
"""What a caption says: attribute to value, without those that it leaves open."""


class MeaningReader(nn.Module):
    """Linear readers of both text encodings, one for each attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {name: nn.Linear(2 * TEXT_WIDTH, len(values)) for name, values in ATTRIBUTES.items()}
        )

    def forward(
        self, conditions: Mapping[str, Tensor], meanings: Sequence[Meaning]
    ) -> tuple[Tensor, float]:
        """Cross entropy of the attributes that captions give, and the share read right.

        Args:
            conditions: what the conditioner returns for the B captions.
            meanings: of the B captions.
        """
        mask = conditions["encoder_attention_mask"].unsqueeze(-1)
        hidden = conditions["encoder_hidden_states"].float()
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        encoding = torch.cat([conditions["pooled_projections"].float(), mean], dim=1)
        loss, right, number = encoding.sum() * 0, 0, 0
        for name, values in ATTRIBUTES.items():
            said = [values.index(m[name]) if name in m else _UNSAID for m in meanings]
            labels = torch.tensor(said, device=encoding.device)
            given = labels != _UNSAID
            if not given.any():
                continue
            logits = self.heads[name](encoding[given])
            loss = loss + F.cross_entropy(logits, labels[given])
            right += int((logits.argmax(dim=1) == labels[given]).sum())
            number += int(given.sum())
        return loss, right / max(number, 1)
