"""What PyTorch's optimisers do to one flat vector, and the learning rates of transformers' schedules.

Writes testdata/optim.json and testdata/schedules.json; README.md describes the layout.
"""

import common  # first: it sets the environment before torch and transformers are loaded

import torch
from transformers import get_scheduler

STEPS = 20
SIZE = 13
TOTAL, PEAK = 100, 2e-3


def lion(p, grads, lr, betas, weight_decay):
    """Chen et al., Symbolic Discovery of Optimization Algorithms (2023), algorithm 2; PyTorch has no Lion."""
    m, states = torch.zeros_like(p), []
    for g in grads:
        update = torch.sign(betas[0] * m + (1 - betas[0]) * g)
        p = p - lr * (update + weight_decay * p)
        m = betas[1] * m + (1 - betas[1]) * g
        states.append(p)
    return states


def stepped(optimizer, p, grads):
    states = []
    for g in grads:
        p.grad = g.clone()
        optimizer.step()
        states.append(p.detach().clone())
    return states


OPTIMISERS = [
    ("sgd", "sgd", dict(lr=0.05)),
    ("sgd-decay", "sgd", dict(lr=0.05, weight_decay=0.1)),
    ("sgd-momentum", "sgd", dict(lr=0.05, momentum=0.9)),
    ("sgd-momentum-decay", "sgd", dict(lr=0.05, momentum=0.9, weight_decay=0.1)),
    ("sgd-nesterov", "sgd", dict(lr=0.05, momentum=0.9, nesterov=True)),
    ("sgd-nesterov-decay", "sgd", dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1)),
    ("adam", "adam", dict(lr=0.01, betas=[0.9, 0.999], eps=1e-8)),
    ("adam-decay", "adam", dict(lr=0.01, betas=[0.8, 0.95], eps=1e-6, weight_decay=0.1)),
    ("adamw", "adamw", dict(lr=0.01, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.0)),
    ("adamw-decay", "adamw", dict(lr=0.01, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.1)),
    ("adamw-betas", "adamw", dict(lr=0.03, betas=[0.8, 0.95], eps=1e-6, weight_decay=0.01)),
    ("lion", "lion", dict(lr=0.003, betas=[0.9, 0.99], weight_decay=0.0)),
    ("lion-decay", "lion", dict(lr=0.003, betas=[0.95, 0.98], weight_decay=0.1)),
]
CLASSES = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def optimisers():
    start = common.randn("optim/start", SIZE)
    grads = torch.stack([common.randn(f"optim/grad{i}", SIZE) for i in range(STEPS)])
    grads[:, 0] = 0.0  # never a gradient: 0/(0+eps)
    grads[7:, 1] = 0.0  # gradients that stop
    grads[:, 2] *= 1e-9  # so small that eps matters
    grads[:, 3] *= 1e4
    grads[:, 4] = 0.25  # always the same sign
    cases = []
    for name, kind, options in OPTIMISERS:
        if kind == "lion":
            states = lion(start.clone(), grads, **options)
        else:
            p = torch.nn.Parameter(start.clone())
            args = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
            states = stepped(CLASSES[kind]([p], foreach=False, **args), p, grads)
        cases.append({"name": name, "optimizer": kind, "options": options, "params": torch.stack(states).tolist()})
    return {"start": start.tolist(), "grads": grads.tolist(), "cases": cases}


SCHEDULES = [
    ("linear", "linear", 10, {}),
    ("linear-no-warmup", "linear", 0, {}),
    ("cosine", "cosine", 10, {}),
    ("cosine-odd-warmup", "cosine", 7, {}),
    ("constant", "constant", 0, {}),
    ("constant_with_warmup", "constant_with_warmup", 10, {}),
    ("cosine_with_min_lr", "cosine_with_min_lr", 10, {"min_lr": 3e-4}),
    ("cosine_with_min_lr-rate", "cosine_with_min_lr", 10, {"min_lr_rate": 0.1}),
    ("wsd", "warmup_stable_decay", 10, {"num_decay_steps": 30}),
    ("wsd-linear", "warmup_stable_decay", 10, {"num_decay_steps": 25, "decay_type": "linear", "min_lr_ratio": 0.1}),
    ("wsd-1-sqrt", "warmup_stable_decay", 10, {"num_decay_steps": 25, "decay_type": "1-sqrt"}),
    ("wsd-cosine-warmup", "warmup_stable_decay", 12, {"num_decay_steps": 20, "warmup_type": "cosine"}),
    ("one_cycle", "one_cycle", 30, {}),
]


def one_cycle(optimizer, warmup):
    """PyTorch's OneCycleLR with its defaults; pct_start is the warm-up's share."""
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=PEAK, total_steps=TOTAL, pct_start=warmup / TOTAL, cycle_momentum=False
    )


def schedules():
    cases = []
    for name, kind, warmup, kwargs in SCHEDULES:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
        if kind == "one_cycle":
            scheduler = one_cycle(optimizer, warmup)
        else:
            scheduler = get_scheduler(kind, optimizer, warmup, TOTAL, scheduler_specific_kwargs=kwargs)
        rates = []
        for _ in range(TOTAL):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if len(rates) < TOTAL:
                scheduler.step()
        cases.append(
            {"name": name, "lr_scheduler_type": kind, "warmup_steps": warmup, "kwargs": kwargs, "lr": rates}
        )
    return {"learning_rate": PEAK, "max_steps": TOTAL, "cases": cases}


def generate(out, only):
    common.write_json(out / "optim.json", optimisers())
    common.write_json(out / "schedules.json", schedules())


if __name__ == "__main__":
    common.run(__doc__, ["optim.json", "schedules.json"], generate)
