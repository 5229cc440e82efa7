"""Behaviour cloning by flow matching on states. Stand-alone: run by an interpreter that has PyTorch and NumPy.

    PYTHON policy_train.py DATA.npz WEIGHTS.npz MINUTES SEED

DATA: observed (N, D), chunks (N, C): normalised observations and the actions that follow; noise (D,): standard
deviation of what is added to observations in training; tie (D, C): by how much the chunk changes with it. A multilayer
perceptron learns the velocity that carries Gaussian noise to the chunk of actions shown for an observation (conditional
flow matching, Lipman et al. 2023, straight paths). WEIGHTS: w0, b0, w1, ... (layers), of an exponential average of the
weights. Ends after MINUTES of this process's CPU time. Prints a line RESULT {json}.
"""

from __future__ import annotations

import itertools
import json
import sys
import time

import numpy as np
import torch
from torch import nn

WIDTH, LAYERS, BATCH, RATE, DECAY = 512, 4, 256, 1e-3, 0.999
FREQUENCIES = 8


def times(t):
    """(N, 2 FREQUENCIES) what the network sees of the flow's time (N,)."""
    angles = t[:, None] * torch.pi * 2.0 ** torch.arange(FREQUENCIES)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def network(inputs, outputs):
    sizes = [inputs, *[WIDTH] * LAYERS]
    hidden = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.SiLU())]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, outputs))


def train(observed, chunks, noise, tie, seconds, seed):
    torch.manual_seed(seed)
    net = network(observed.shape[1] + chunks.shape[1] + 2 * FREQUENCIES, chunks.shape[1])
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-4)
    average = [parameter.detach().clone() for parameter in net.parameters()]
    start, step, losses = time.process_time(), 0, []
    while (spent := time.process_time() - start) < seconds:
        for group in optimiser.param_groups:  # warm up, then to zero along a cosine of the time that is left
            group["lr"] = RATE * min(1.0, (step + 1) / 200) * 0.5 * (1 + np.cos(np.pi * spent / seconds))
        chosen = torch.randint(len(observed), (BATCH,))
        change = noise * torch.randn(BATCH, observed.shape[1])
        seen, goal = observed[chosen] + change, chunks[chosen] + change @ tie
        origin, t = torch.randn(BATCH, chunks.shape[1]), torch.rand(BATCH)
        between = origin + t[:, None] * (goal - origin)
        loss = nn.functional.mse_loss(net(torch.cat([seen, between, times(t)], dim=1)), goal - origin)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        losses.append(loss.item())
        with torch.no_grad():
            for kept, parameter in zip(average, net.parameters(), strict=True):
                kept.lerp_(parameter, 1 - min(DECAY, step / (step + 10)))
    return average, {"steps": step, "loss": float(np.mean(losses[-200:])), "cpu_s": time.process_time() - start}


def main():
    torch.set_num_threads(1)
    wall = time.monotonic()
    with np.load(sys.argv[1]) as data:
        observed, chunks, noise, tie = (torch.from_numpy(data[name]) for name in ("observed", "chunks", "noise", "tie"))
    average, told = train(observed, chunks, noise, tie, 60 * float(sys.argv[3]), int(sys.argv[4]))
    names = [f"{kind}{layer}" for layer in range(LAYERS + 1) for kind in "wb"]
    np.savez(sys.argv[2], **{name: value.numpy() for name, value in zip(names, average, strict=True)})
    told |= {"wall_s": time.monotonic() - wall, "torch": torch.__version__, "frames": len(observed)}
    print("RESULT", json.dumps(told))


if __name__ == "__main__":
    main()
