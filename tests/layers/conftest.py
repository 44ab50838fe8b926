from dataclasses import replace

import pytest

from adaptive_attention_tiling.layers import (
    AdaptiveTiledAttentionConfig,
    FidelityAttentionConfig,
    GateConfig,
    GaussianSplatAttentionConfig,
    LinearAttentionConfig,
    ProjectionConfig,
    QuantumGeometricAttentionConfig,
    ResolventAttentionConfig,
    SoftmaxAttentionConfig,
    SplatFieldConfig,
    StatePreparation,
    StateSpaceConfig,
)
from adaptive_attention_tiling.ops.tiled_attention import TileLayout

PLAIN = ProjectionConfig(width=12, heads=4)
FURNISHED = ProjectionConfig(
    width=12,
    heads=4,
    key_value_heads=2,
    head_width=4,
    query_width=6,
    bias=True,
    qk_norm=True,
    rotary_base=100.0,
    convolution_width=3,
    output_gate=True,
)

BY_HEAD = GateConfig(decay="head", write=True)

MIXERS = {
    "softmax": SoftmaxAttentionConfig(projection=PLAIN),
    "softmax_furnished": SoftmaxAttentionConfig(projection=FURNISHED),
    "gaussian_splat": GaussianSplatAttentionConfig(
        projection=PLAIN, field=SplatFieldConfig(splats=5)
    ),
    "gaussian_splat_near": GaussianSplatAttentionConfig(
        projection=PLAIN, field=SplatFieldConfig(splats=5, kind="scalar"), window=3, sinks=1
    ),
    "gaussian_splat_furnished": GaussianSplatAttentionConfig(
        projection=FURNISHED,
        field=SplatFieldConfig(splats=5, kind="low_rank", rank=1),
        gates=GateConfig(decay="splat", write=True),
        window=3,
        sinks=1,
    ),
    "gaussian_splat_sparse": GaussianSplatAttentionConfig(
        projection=FURNISHED,
        field=SplatFieldConfig(splats=5, kind="full"),
        gates=BY_HEAD,
        top_m=2,
    ),
    "fidelity": FidelityAttentionConfig(projection=PLAIN, state_width=5),
    "fidelity_near": FidelityAttentionConfig(projection=PLAIN, state_width=5, window=3, sinks=1),
    "fidelity_furnished": FidelityAttentionConfig(
        projection=FURNISHED, state_width=6, gates=BY_HEAD, window=3, sinks=1
    ),
    "fidelity_phases": FidelityAttentionConfig(
        projection=PLAIN, preparation=StatePreparation(phases=True), state_width=3, window=2
    ),
    "fidelity_angle": FidelityAttentionConfig(
        projection=PLAIN, preparation=StatePreparation(kind="angle"), state_width=8
    ),
    "fidelity_angle_furnished": FidelityAttentionConfig(
        projection=replace(FURNISHED, rotary_base=None),
        preparation=StatePreparation(kind="angle", phases=True),
        state_width=4,
        gates=BY_HEAD,
        window=3,
        sinks=1,
    ),
    "adaptive_tiled": AdaptiveTiledAttentionConfig(projection=PLAIN),
    "adaptive_tiled_furnished": AdaptiveTiledAttentionConfig(
        projection=FURNISHED,
        tolerance=0.0,
        layout=TileLayout(super_block=4, tile=2, group=2, window=4, sinks=1, scouts=2),
    ),
    "linear": LinearAttentionConfig(projection=PLAIN),
    "linear_furnished": LinearAttentionConfig(projection=FURNISHED, gates=BY_HEAD),
    "quantum_geometric": QuantumGeometricAttentionConfig(
        projection=PLAIN,
        geometry="lorentz",
        manifold_dim=3,
        num_layers=1,
        motive_rank=4,
        tile_size=4,
        routes=1,
    ),
    "quantum_geometric_projective": QuantumGeometricAttentionConfig(
        projection=PLAIN, manifold_dim=4, motive_rank=2
    ),
    "quantum_geometric_furnished": QuantumGeometricAttentionConfig(
        projection=FURNISHED,
        geometry="lorentz",
        radius=2.0,
        manifold_dim=6,
        num_layers=2,
        motive_rank=4,
        tile_size=3,
        routes=2,
    ),
    "resolvent": ResolventAttentionConfig(projection=PLAIN, tolerance=1e-12),
    "resolvent_furnished": ResolventAttentionConfig(projection=FURNISHED, damping=0.8),
    "state_space": StateSpaceConfig(width=12, d_state=4, conv_width=3),
}


def needs_order(config) -> bool:
    if isinstance(config, StateSpaceConfig):
        return True
    return getattr(config, "gates", GateConfig()).decay != "none"


@pytest.fixture(params=MIXERS)
def config(request):
    """A config of every mixer, bare and with everything on."""
    return MIXERS[request.param]


@pytest.fixture(params=[name for name, config in MIXERS.items() if not needs_order(config)])
def config_without_order(request):
    """A config of every mixer that can do without causality."""
    return MIXERS[request.param]
