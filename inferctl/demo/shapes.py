"""A small CenterNet-like detector of circles, squares and triangles, and its training loss."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from inferctl.demo.scenes import LABELS, SIZE

MEAN = 0.5
STD = 0.25
STRIDE = 8
MAX_DETECTIONS = 32

_GRID = SIZE // STRIDE
# A distance above this many cells lies outside every scene: it keeps `exp` finite early on.
_MAX_LOG_DISTANCE = 4.0
_BOX_WEIGHT_FLOOR = 0.3
# The share of cells that hold a centre is tiny: starting at sigmoid(-2.19) = 0.1 keeps the first
# focal losses small (the CenterNet and RetinaNet prior).
_HEAT_PRIOR = -2.19


class ShapesDetector(nn.Module):
    """Predicts, for each cell of a 20 x 20 grid, class heat and the distances to the box's sides.

    Input: float32 [B, 3, 160, 160], RGB, already normalised as (x / 255 - MEAN) / STD.
    """

    centres: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _block(3, 24, stride=2),
            _block(24, 40, stride=2),
            _block(40, 40),
            _block(40, 64, stride=2),
            _block(64, 64),
        )
        # Half the resolution sees twice as far: large objects need the context.
        self.context = nn.Sequential(
            _block(64, 96, stride=2),
            _block(96, 64),
            nn.Upsample(scale_factor=2.0, mode="nearest"),
        )
        self.fuse = _block(64, 64)
        self.heat = nn.Sequential(_block(64, 64), nn.Conv2d(64, len(LABELS), 1))
        self.sides = nn.Sequential(_block(64, 64), nn.Conv2d(64, 4, 1))
        nn.init.constant_(self.heat.get_parameter("1.bias"), _HEAT_PRIOR)
        self.register_buffer("centres", cell_centres(), persistent=False)

    def dense(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return heat logits [B, 3, 20, 20] and left, top, right, bottom distances [B, 4, 20, 20].

        Distances are positive and in input pixels, measured from the centre of the cell.
        """
        features = self.trunk(image)
        features = self.fuse(features + self.context(features))
        sides = self.sides(features).clamp(max=_MAX_LOG_DISTANCE).exp() * STRIDE
        return self.heat(features), sides

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes [B, 32, 4] xyxy in 0..1, descending scores [B, 32], int64 labels [B, 32].

        Only cells hotter than their eight neighbours count, so no suppression step follows.
        """
        heat, sides = self.dense(image)
        heat = heat.sigmoid()
        peaks = heat * (functional.max_pool2d(heat, 3, stride=1, padding=1) == heat)
        scores, index = peaks.flatten(1).topk(MAX_DETECTIONS)
        labels = index // (_GRID * _GRID)
        cells = (index % (_GRID * _GRID)).unsqueeze(-1)
        all_boxes = boxes_from_sides(self.centres, sides.flatten(2).transpose(1, 2))
        boxes = all_boxes.gather(1, cells.expand(-1, -1, 4)) / SIZE
        return boxes.clamp(0.0, 1.0), scores, labels


def build() -> ShapesDetector:
    """Return a detector with random weights, in evaluation mode."""
    return ShapesDetector().eval()


def normalise(images: Tensor) -> Tensor:
    """Turn uint8 [B, 160, 160, 3] pictures into the float32 [B, 3, 160, 160] the detector takes."""
    return (images.permute(0, 3, 1, 2).float() / 255.0 - MEAN) / STD


def cell_centres() -> Tensor:
    """Return the centre of each cell, row by row: float32 [400, 2], x then y, in pixels."""
    steps = (torch.arange(_GRID, dtype=torch.float32) + 0.5) * STRIDE
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], dim=-1)


def boxes_from_sides(centres: Tensor, sides: Tensor) -> Tensor:
    """Join centres [cells, 2] and ltrb distances [B, cells, 4] into boxes [B, cells, 4] xyxy."""
    return torch.cat([centres - sides[..., :2], centres + sides[..., 2:]], dim=-1)


def detection_loss(heat: Tensor, sides: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
    """Return the scalar training loss of `ShapesDetector.dense` outputs.

    `boxes` is float32 [B, N, 4] xyxy in pixels and `labels` int64 [B, N]; a label of -1 is padding.
    """
    spread = _gaussians(boxes, labels)
    classes = torch.arange(len(LABELS), device=labels.device)
    is_class = labels.unsqueeze(1) == classes.view(1, -1, 1)
    target = (spread.unsqueeze(1) * is_class.unsqueeze(-1)).amax(dim=2)
    objects = (labels >= 0).sum().clamp(min=1)
    heat_loss = _focal_loss(heat.flatten(2), target) / objects
    return heat_loss + _overlap_loss(sides, boxes, spread)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _gaussians(boxes: Tensor, labels: Tensor) -> Tensor:
    """Return a bump [B, N, 400] per object: 1 at its centre cell, as wide as a third of its box."""
    grid = (cell_centres().to(boxes) / STRIDE).floor()
    middle = (boxes[..., :2] + boxes[..., 2:]) / (2 * STRIDE)
    sigma = ((boxes[..., 2:] - boxes[..., :2]) / (6 * STRIDE)).clamp(min=1e-3)
    offset = (grid - middle.floor().unsqueeze(-2)) / sigma.unsqueeze(-2)
    bumps = (-0.5 * offset.square().sum(dim=-1)).exp()
    return bumps * (labels >= 0).unsqueeze(-1)


def _focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Sum the CenterNet focal loss: cells near a centre count less as negatives."""
    chance = logits.sigmoid()
    hit = -functional.logsigmoid(logits) * (1 - chance).square() * (target == 1.0)
    miss = -functional.logsigmoid(-logits) * chance.square() * (1 - target).pow(4)
    return (hit + miss).sum()


def _overlap_loss(sides: Tensor, boxes: Tensor, spread: Tensor) -> Tensor:
    """Average 1 - IoU over the cells near a centre, weighted by nearness."""
    nearness, owner = spread.max(dim=1)
    weight = nearness * (nearness > _BOX_WEIGHT_FLOOR)
    wanted = boxes.gather(1, owner.unsqueeze(-1).expand(-1, -1, 4))
    found = boxes_from_sides(cell_centres().to(boxes), sides.flatten(2).transpose(1, 2))
    corner_low = torch.maximum(found[..., :2], wanted[..., :2])
    corner_high = torch.minimum(found[..., 2:], wanted[..., 2:])
    shared = (corner_high - corner_low).clamp(min=0).prod(dim=-1)
    total = _area(found) + _area(wanted) - shared
    return (weight * (1 - shared / total.clamp(min=1e-6))).sum() / weight.sum().clamp(min=1.0)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
