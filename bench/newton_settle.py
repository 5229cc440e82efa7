"""Settle USD scenes in Newton: a script for an interpreter that has `newton`, `usd-core` and `mujoco`, not ours.

    /path/to/newton/bin/python bench/newton_settle.py SECONDS SCENE.usda [SCENE.usda ...]

Prints one line of JSON per scene: where every body was (`before`) and is (`after`): prim path -> x y z, qx qy qz qw.
Newton reads the USD with its own importer and solves with SolverMuJoCo on the CPU; nothing of ours is imported.
"""

from __future__ import annotations

import json
import sys

import newton
import warp
from pxr import Usd

STEP_S = 0.002
CONTACT_GAP_M = 0.001  # Newton's 0.1 m would list every pair of hulls of a stack of bowls
CONTACT_STIFFNESS, CONTACT_DAMPING = 1e5, 500.0  # of what stands fixed: Newton's 2500 lets a kilogram sink by 4 mm


def settle(path: str, seconds: float) -> dict[str, object]:
    builder = newton.ModelBuilder()
    newton.solvers.SolverMuJoCo.register_custom_attributes(builder)
    builder.default_shape_cfg.ke, builder.default_shape_cfg.kd = CONTACT_STIFFNESS, CONTACT_DAMPING
    builder.rigid_gap = builder.default_shape_cfg.gap = CONTACT_GAP_M
    builder.add_usd(_stage(path))
    model = builder.finalize(device="cpu")
    solver = newton.solvers.SolverMuJoCo(
        model, use_mujoco_cpu=True, integrator="implicitfast", cone="elliptic", impratio=50.0, enable_multiccd=True
    )
    now, then = model.state(), model.state()
    control = model.control()
    newton.eval_fk(model, model.joint_q, model.joint_qd, now)
    before = _poses(builder, now)
    for _ in range(round(seconds / STEP_S)):
        now.clear_forces()
        solver.step(now, then, control, None, STEP_S)
        now, then = then, now
    return {
        "before": before,
        "after": _poses(builder, now),
        "simulator": f"newton {newton.__version__} (SolverMuJoCo on the CPU)",
        "shapes": builder.shape_count,
        "joints": len([kind for kind in builder.joint_type if int(kind) in (0, 1)]),
    }


def _stage(path: str) -> Usd.Stage:
    """The scene with the MuJoCo layer of every asset switched on, as for any solver that is MuJoCo."""
    stage = Usd.Stage.Open(path)
    stage.SetEditTarget(stage.GetSessionLayer())
    for prim in stage.Traverse():
        if "MuJoCo" in prim.GetVariantSets().GetNames():
            prim.GetVariantSet("MuJoCo").SetVariantSelection("Enabled")
    return stage


def _poses(builder: newton.ModelBuilder, state: newton.State) -> dict[str, list[float]]:
    rows = state.body_q.numpy()
    return {label: [float(value) for value in row] for label, row in zip(builder.body_label, rows, strict=True)}


if __name__ == "__main__":
    warp.config.quiet = True
    for scene in sys.argv[2:]:
        print("RESULT " + json.dumps({"scene": scene, **settle(scene, float(sys.argv[1]))}), flush=True)
