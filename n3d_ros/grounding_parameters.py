"""Parameters of the grounding node."""

from __future__ import annotations

from dataclasses import dataclass

from n3d_core.backends.select import SPELLINGS
from n3d_core.depth.cleaning import DepthLimits
from n3d_core.errors import ConfigError
from n3d_core.geometry.lens import DISTORTION_POLICIES
from n3d_core.messages.assembly import REGISTRATION_POLICIES
from n3d_core.preparation import ImageSize
from n3d_ros.node.parameters import AT_START, ON_ACTIVATE, ON_CONFIGURE, CheckedParameters, parameter
from n3d_ros.queries.models import ModelChoice
from n3d_ros.queries.queue import QUEUE_POLICIES


@dataclass(frozen=True)
class GroundingParameters(CheckedParameters):
    """See the texts; docs/ros.md is made from them."""

    model: str = parameter(
        "n3d-tiny", "Name of a model shipped with the package, or a folder with a checkpoint.", when=ON_CONFIGURE
    )
    backend: str = parameter(
        "auto",
        "What runs the network, and in which precision (as 'tensorrt:int4', of engines that n3d compile built with "
        "--precision int4); auto takes the fastest that runs here.",
        choices=SPELLINGS,
        when=ON_CONFIGURE,
    )
    device: str = parameter(
        "",
        "Device of the torch and TensorRT backends: cpu, cuda or cuda:1; empty: the first GPU, else the CPU.",
        when=ON_CONFIGURE,
    )
    sampling: str = parameter(
        "checkpoint",
        "How replies are decoded; greedy: the likeliest word each time, so one image gives one answer; checkpoint: the "
        "same, with the numbers of boxes chosen as the model's generation_config.json asks for; released: drawn as the "
        "released scripts do (temperature 0.6, top-p 0.95, top-k 10).",
        choices=("checkpoint", "greedy", "released"),
        when=ON_CONFIGURE,
    )
    sampling_seed: int = parameter(0, "Seed of sampling:=released.", low=0, high=2**31 - 1, when=ON_CONFIGURE)
    image_size: str = parameter(
        "",
        "Size of the camera's images ('1280x720'), which configure compiles for; empty: 640x480 then, and each other "
        "ratio when its first image comes.",
        when=ON_CONFIGURE,
    )
    on_other_size: str = parameter(
        "recompile",
        "Where image_size is set, of an image in another ratio; recompile: for it too, which takes its query seconds "
        "to minutes; resize: scale it with its depth and intrinsics; error: refuse it.",
        choices=("recompile", "resize", "error"),
        when=ON_CONFIGURE,
    )
    monocular_depth: str = parameter(
        "",
        "Depth model for a camera without depth: indoor, outdoor or moge as `n3d download` stored them, or a folder; "
        "empty: depth is measured.",
        when=ON_CONFIGURE,
    )
    autostart: bool = parameter(
        True, "Configure and activate at start; false leaves both to a lifecycle manager.", when=AT_START
    )
    color_transport: str = parameter(
        "raw",
        "Form of the colour topic: color/image_raw, or color/image_raw/compressed.",
        choices=("raw", "compressed"),
        when=ON_ACTIVATE,
    )
    depth_transport: str = parameter(
        "raw",
        "Form of the depth topic: depth/image_raw, or depth/image_raw/compressedDepth.",
        choices=("raw", "compressedDepth"),
        when=ON_ACTIVATE,
    )
    depth_registration: str = parameter(
        "auto",
        "auto: register depth to colour where frame or size differ; aligned: the driver did; register: always.",
        choices=REGISTRATION_POLICIES,
    )
    distortion: str = parameter(
        "rectify",
        "Of images with distortion: rectify them; they are rectified already (P is used); refuse them.",
        choices=DISTORTION_POLICIES,
    )
    units_per_metre: float = parameter(
        0.0,
        "Depth values per metre, where the driver's are not those of REP 118: 10000 for a RealSense D405; 0: 16-bit "
        "depth is in millimetres, 32-bit in metres.",
        low=0.0,
        high=1e6,
    )
    min_depth: float = parameter(0.05, "Depth nearer than this (metres) is not used.", low=0.001, high=10.0)
    max_depth: float = parameter(20.0, "Depth further than this (metres) is not used.", low=0.1, high=1000.0)
    synchronizer: str = parameter(
        "newest",
        "newest: the newest pair is taken from the middleware when a query comes; message_filters: every image is "
        "received and paired by its ApproximateTimeSynchronizer (slop: pairing_tolerance), which must be installed.",
        choices=("newest", "message_filters"),
        when=ON_ACTIVATE,
    )
    pairing_tolerance: float = parameter(
        0.02, "Largest difference of the stamps of colour and depth in seconds; 0: they are equal.", low=0.0, high=1.0
    )
    max_image_age: float = parameter(
        1.0,
        "A newest image older than this (seconds, by its stamp) is refused as stale; 0 takes any.",
        low=0.0,
        high=3600.0,
    )
    image_timeout: float = parameter(
        1.0, "How long a query waits for a complete and fresh image, in seconds.", low=0.0, high=60.0
    )
    query_timeout: float = parameter(
        60.0, "Time budget of a query in seconds, from its start in the worker; 0 sets none.", low=0.0, high=3600.0
    )
    queue_policy: str = parameter(
        "wait",
        "Of a query that comes while another runs: reject it, let it replace the other, or let it wait.",
        choices=QUEUE_POLICIES,
    )
    queue_size: int = parameter(
        8, "How many queries may wait with queue_policy wait; further ones are BUSY.", low=1, high=1000
    )
    continuous_query: str = parameter("", "Text that is grounded again and again ('mug; bottle'); empty turns it off.")
    continuous_rate: float = parameter(1.0, "Continuous queries a second, at most.", low=0.01, high=100.0)
    answer_from: str = parameter(
        "audited",
        "Answers to questions: the model's, what geometry gives, or the model's audited against geometry.",
        choices=("model", "geometry", "audited"),
    )
    refine: str = parameter(
        "none",
        "depth: fit each box to the points inside it, upright by gravity (see gravity_frame); none: keep the model's "
        "boxes, axis-aligned in the optical frame.",
        choices=("none", "depth"),
        also={"off": "none", False: "none"},
    )
    gravity_frame: str = parameter(
        "",
        "For refine:=depth, a frame whose z axis points up, as odom; empty: target_frame where that is a map, odom, "
        "base_link or base_footprint, else the largest level plane in view. Needs tf2_ros.",
    )
    score_threshold: float = parameter(
        -1.0,
        "Boxes with a score below this are left out; below 0: the model's own threshold where it grounds, none where "
        "it answers.",
        low=-1.0,
        high=1.0,
    )
    target_frame: str = parameter("", "Frame of the output; empty is the image's optical frame. Needs tf2_ros.")
    transform_timeout: float = parameter(
        0.2, "How long a transform at the image's stamp is waited for, in seconds.", low=0.0, high=10.0
    )
    marker_lifetime: float = parameter(
        0.0, "Seconds after which RViz drops the markers; 0 keeps them until the next result.", low=0.0, high=3600.0
    )
    publish_object_clouds: bool = parameter(False, "Publish the measured points inside each box on ~/object_clouds.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size:
            ImageSize.parse(self.image_size)
        if not self.min_depth < self.max_depth:
            raise ConfigError(
                f"min_depth is {self.min_depth} and max_depth {self.max_depth}: min_depth must be the smaller one; to "
                "move both, set them together (set_parameters_atomically)"
            )

    @property
    def model_choice(self) -> ModelChoice:
        """What configure loads."""
        return ModelChoice(
            name=self.model,
            backend=self.backend,
            device=self.device,
            sampling=self.sampling,
            seed=self.sampling_seed,
            image_size=self.image_size,
            on_other_size=self.on_other_size,
            monocular_depth=self.monocular_depth,
        )

    @property
    def needs_transforms(self) -> bool:
        """Whether every query looks a transform up."""
        return bool(self.target_frame or (self.refines and self.gravity_frame))

    @property
    def refines(self) -> bool:
        """Whether boxes are fitted to the measured points."""
        return self.refine != "none"

    @property
    def depth_unit(self) -> str:
        """What depth values mean, as `DepthUnit.parse` takes it; empty: by their encoding."""
        return f"{self.units_per_metre:g}" if self.units_per_metre > 0 else ""

    @property
    def depth_limits(self) -> DepthLimits:
        """What a depth pixel must satisfy to count."""
        return DepthLimits(near=self.min_depth, far=self.max_depth, unit_is_given=self.units_per_metre > 0)
