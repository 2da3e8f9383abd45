"""Steps of training that can be interrupted: the learning rate, checkpoints and progress."""

import os
import random
import time

import torch


class Run:
    """`steps` steps of AdamW with linear warm-up and decay; resumes from `path` if it is there."""

    def __init__(self, path, modules, steps, rate, warm=0.06, decay=0.01, seed=1):
        self.path, self.modules, self.steps, self.rate, self.seed = path, modules, steps, rate, seed
        self.warm = max(1, int(steps * warm))
        weights = [p for m in modules for p in m.parameters() if p.requires_grad]
        matrices = [p for p in weights if p.ndim > 1]
        vectors = [p for p in weights if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.weights = weights
        self.optimiser = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
        self.step, self.mean, self.began, self.first = 0, {}, time.time(), 0
        if os.path.exists(path):
            kept = torch.load(path, weights_only=True)
            for module, state in zip(modules, kept["modules"]):
                module.load_state_dict(state)
            self.optimiser.load_state_dict(kept["optimiser"])
            self.step = self.first = kept["step"]
            print(f"resumed at step {self.step} of {steps}", flush=True)

    def random(self):
        """The source of chance for the current step: the same after an interruption."""
        return random.Random(self.step * 1_000_003 + 16 + self.seed)

    def learn(self, **figures):
        """Takes the step that the gradients say; `figures` are shown, `loss` first."""
        ahead = min(1.0, (self.step + 1) / self.warm)
        left = max(0.0, 1 - self.step / self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * ahead * left
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        for name, value in figures.items():
            self.mean[name] = 0.98 * self.mean.get(name, value) + 0.02 * value
        if self.step % 25 == 0:
            self.report()
        if self.step % 200 == 0 or self.step == self.steps:
            self.keep()

    def report(self):
        pace = (time.time() - self.began) / (self.step - self.first)
        left = pace * (self.steps - self.step) / 60
        figures = " ".join(f"{k} {v:.3f}" for k, v in self.mean.items())
        print(f"step {self.step}/{self.steps} {figures} {pace:.2f} s/step {left:.0f} min left", flush=True)

    def keep(self):
        kept = {
            "modules": [m.state_dict() for m in self.modules],
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        torch.save(kept, f"{self.path}.new")
        os.replace(f"{self.path}.new", self.path)
