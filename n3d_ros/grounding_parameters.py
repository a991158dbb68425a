"""Parameters of the grounding node."""

from __future__ import annotations

from dataclasses import dataclass

from n3d_core.backends.select import SPELLINGS
from n3d_core.depth.cleaning import DepthLimits
from n3d_core.errors import ConfigError
from n3d_core.geometry.camera import DISTORTION_POLICIES
from n3d_core.messages.assembly import REGISTRATION_POLICIES
from n3d_core.preparation import ImageSize
from n3d_ros.node.parameters import AT_START, ON_ACTIVATE, ON_CONFIGURE, CheckedParameters, parameter
from n3d_ros.queries.models import ModelChoice
from n3d_ros.queries.queue import QUEUE_POLICIES

LAZY_AGE_S = 5.0  # who takes older images wants the last one of a camera that pauses


@dataclass(frozen=True)
class GroundingParameters(CheckedParameters):
    """Each parameter's text describes it; the table in docs/ros.md is generated from them."""

    model: str = parameter(
        "n3d-tiny", "Name of a model shipped with the package, or a folder with a checkpoint.", when=ON_CONFIGURE
    )
    backend: str = parameter(
        "auto",
        "Runtime of the network, optionally with a precision (such as tensorrt:int4, for engines built by "
        "n3d compile --precision int4); auto: the fastest that runs on this machine.",
        choices=SPELLINGS,
        when=ON_CONFIGURE,
    )
    device: str = parameter(
        "",
        "Device for the torch and TensorRT backends: cpu, cuda or cuda:1; empty: the first GPU, else the CPU.",
        when=ON_CONFIGURE,
    )
    sampling: str = parameter(
        "checkpoint",
        "How replies are decoded. greedy: always the most likely token, so the same image gives the same answer; "
        "checkpoint: greedy, with box numbers chosen as the model's generation_config.json says; released: sampled as "
        "in the released scripts (temperature 0.6, top-p 0.95, top-k 10).",
        choices=("checkpoint", "greedy", "released"),
        when=ON_CONFIGURE,
    )
    sampling_seed: int = parameter(0, "Seed for sampling:=released.", low=0, high=2**31 - 1, when=ON_CONFIGURE)
    image_size: str = parameter(
        "",
        "Size of the camera's images (such as 1280x720) to compile for on configure; empty: 640x480, and "
        "any other aspect ratio when its first image arrives.",
        when=ON_CONFIGURE,
    )
    on_other_size: str = parameter(
        "recompile",
        "What to do with an image whose aspect ratio differs from image_size. recompile: compile for it too, which "
        "delays its first query by seconds to minutes; resize: scale it, with its depth and intrinsics; error: reject "
        "it.",
        choices=("recompile", "resize", "error"),
        when=ON_CONFIGURE,
    )
    monocular_depth: str = parameter(
        "",
        "Depth model for a camera without depth: indoor, outdoor or moge (as downloaded by `n3d download`), or a "
        "folder; empty: use measured depth.",
        when=ON_CONFIGURE,
    )
    autostart: bool = parameter(
        True, "Configure and activate at start; false leaves that to a lifecycle manager.", when=AT_START
    )
    color_transport: str = parameter(
        "raw",
        "Transport of the colour images: raw (color/image_raw) or compressed (color/image_raw/compressed).",
        choices=("raw", "compressed"),
        when=ON_ACTIVATE,
    )
    depth_transport: str = parameter(
        "raw",
        "Transport of the depth images: raw (depth/image_raw), compressedDepth (depth/image_raw/compressedDepth), or "
        "compressed (depth/image_raw/compressed, 16-bit PNG).",
        choices=("raw", "compressedDepth", "compressed"),
        when=ON_ACTIVATE,
    )
    depth_registration: str = parameter(
        "auto",
        "auto: register depth to colour if their frames or sizes differ; aligned: the driver has aligned it; register: "
        "always.",
        choices=REGISTRATION_POLICIES,
    )
    distortion: str = parameter(
        "rectify",
        "What to do with a distorted image. rectify: undistort it; rectified: it is already rectified (use P); refuse: "
        "reject it.",
        choices=DISTORTION_POLICIES,
    )
    units_per_metre: float = parameter(
        0.0,
        "Depth values per metre, for drivers that do not follow REP 118: 10000 for a RealSense D405; 0: 16-bit "
        "depth is in millimetres, 32-bit in metres.",
        low=0.0,
        high=1e6,
    )
    min_depth: float = parameter(0.05, "Ignore depth nearer than this, in metres.", low=0.001, high=10.0)
    max_depth: float = parameter(20.0, "Ignore depth farther than this, in metres.", low=0.1, high=1000.0)
    synchronizer: str = parameter(
        "newest",
        "newest: take the newest pair from the middleware when a query arrives; message_filters: receive every image "
        "and pair them with its ApproximateTimeSynchronizer (slop: pairing_tolerance).",
        choices=("newest", "message_filters"),
        when=ON_ACTIVATE,
    )
    lazy: bool = parameter(
        True,
        "true: unsubscribe images that no query has needed for 10 s; the next query subscribes them again and waits "
        "for a new image; false: stay subscribed. Images also stay subscribed under use_sim_time, and if max_image_age "
        "is 0 or above 5 s, since the last image must then outlast a pause.",
    )
    pairing_tolerance: float = parameter(
        0.02,
        "Largest difference between the stamps of colour and depth, in seconds; 0: they must be equal.",
        low=0.0,
        high=1.0,
    )
    max_image_age: float = parameter(
        1.0,
        "Reject images whose stamp is older than this, in seconds; 0: no limit.",
        low=0.0,
        high=3600.0,
    )
    image_timeout: float = parameter(
        1.0, "How long a query waits for a complete, fresh image, in seconds.", low=0.0, high=60.0
    )
    query_timeout: float = parameter(
        60.0, "Time budget of a query in seconds, from the moment it starts to run; 0: none.", low=0.0, high=3600.0
    )
    queue_policy: str = parameter(
        "wait",
        "What to do when a query arrives while another is running: reject it, replace the other, or wait.",
        choices=QUEUE_POLICIES,
    )
    queue_size: int = parameter(
        8, "How many queries may wait (queue_policy wait); further ones get BUSY.", low=1, high=1000
    )
    continuous_query: str = parameter("", "Text to ground continuously, such as 'mug; bottle'; empty: none.")
    continuous_rate: float = parameter(1.0, "Maximum rate of continuous queries, in Hz.", low=0.01, high=100.0)
    answer_from: str = parameter(
        "audited",
        "Source of answers. model: the model alone; geometry: computed from the boxes; audited: the model's, or the "
        "computed one where the boxes contradict it.",
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
        "Frame whose z axis points up, such as odom, for refine:=depth; empty: target_frame if that is map, odom, "
        "base_link or base_footprint, else the largest level plane in view.",
    )
    score_threshold: float = parameter(
        -1.0,
        "Drop boxes with a lower score; negative: the model's own threshold for grounding, none for questions.",
        low=-1.0,
        high=1.0,
    )
    memory: str = parameter(
        "",
        "File in which objects are remembered, created if it does not exist; nodes that name the same file share it; "
        "empty: remember nothing.",
        when=ON_CONFIGURE,
    )
    memory_frame: str = parameter("map", "Fixed frame (z up) in which objects are remembered.", when=ON_CONFIGURE)
    odom_frame: str = parameter(
        "odom",
        "Frame of the odometry: when memory_frame jumps against it (a relocalisation), places of remembered objects "
        "become less sure; empty: there is none.",
        when=ON_CONFIGURE,
    )
    target_frame: str = parameter("", "Frame of the output; empty: the image's optical frame.")
    transform_timeout: float = parameter(
        0.2, "How long to wait for a transform at the image's stamp, in seconds.", low=0.0, high=10.0
    )
    marker_lifetime: float = parameter(
        0.0, "Seconds after which RViz removes the markers; 0: keep them until the next result.", low=0.0, high=3600.0
    )
    publish_object_clouds: bool = parameter(False, "Publish the measured points inside each box on ~/object_clouds.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("target_frame", "gravity_frame", "memory_frame", "odom_frame"):
            object.__setattr__(self, name, getattr(self, name).lstrip("/"))  # as ROS 1 wrote them
        if self.image_size:
            ImageSize.parse(self.image_size)
        if not self.min_depth < self.max_depth:
            raise ConfigError(
                f"min_depth must be below max_depth; got {self.min_depth} and {self.max_depth} (to move both, set them "
                "together with set_parameters_atomically)"
            )

    @property
    def model_choice(self) -> ModelChoice:
        """The model to load."""
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
        """Whether every query needs a transform."""
        return bool(self.target_frame or self.memory or (self.refines and self.gravity_frame))

    @property
    def may_rest(self) -> bool:
        """Whether unused images may be unsubscribed: not if a query may want one from before it came."""
        return self.lazy and 0 < self.max_image_age <= LAZY_AGE_S

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
        """Which depth pixels are used."""
        return DepthLimits(near=self.min_depth, far=self.max_depth, unit_is_given=self.units_per_metre > 0)
