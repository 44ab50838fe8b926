"""Fibre bundles: charts, transitions, connections, transport, holonomy, curvature."""

from .atlas import Atlas, Chart, circle_atlas, euclidean_atlas, sphere_atlas
from .bundle import BundlePoint, FiberBundle, FiberChart, TangentVector
from .connection import bianchi_form, curvature_form, gauge_transformed
from .examples import (
    flat_circle_bundle,
    flat_connection,
    hopf_bundle,
    induced_bundle,
    mobius_bundle,
    monopole_bundle,
    tangent_bundle,
    trivial_bundle,
)
from .path import Path
from .rotary import rotary_bundle, rotary_frequencies, rotary_transport
from .structure_group import (
    Representation,
    StructureGroup,
    adjoint_representation,
    charge_representation,
    determinant_representation,
    dual_representation,
)
from .token_transport import (
    frame_error_bound,
    grid_frame_error_bound,
    holonomy_defect,
    householder_steps,
    line_transports,
    loop_holonomy,
    plaquette_holonomy,
)

__all__ = [
    "Atlas",
    "BundlePoint",
    "Chart",
    "FiberBundle",
    "FiberChart",
    "Path",
    "Representation",
    "StructureGroup",
    "TangentVector",
    "adjoint_representation",
    "bianchi_form",
    "charge_representation",
    "circle_atlas",
    "curvature_form",
    "determinant_representation",
    "dual_representation",
    "euclidean_atlas",
    "flat_circle_bundle",
    "flat_connection",
    "frame_error_bound",
    "gauge_transformed",
    "grid_frame_error_bound",
    "holonomy_defect",
    "hopf_bundle",
    "householder_steps",
    "induced_bundle",
    "line_transports",
    "loop_holonomy",
    "mobius_bundle",
    "monopole_bundle",
    "plaquette_holonomy",
    "rotary_bundle",
    "rotary_frequencies",
    "rotary_transport",
    "sphere_atlas",
    "tangent_bundle",
    "trivial_bundle",
]
