"""Answers to the exercises of lesson 05, wrong and right; see test_checks.py."""

from . import Corpus

CORPUS: Corpus = {
    "cosine_decay": (
        "step, total_steps",
        "return (1 + math.cos(math.pi * step / total_steps)) / 2",
        [
            ("1 + math", "1 - math", "1 minus the right result"),
            (
                "(1 + math.cos(math.pi * step / total_steps)) / 2",
                "math.cos(math.pi * step / total_steps)",
                "it ends at -1",
            ),
            ("math.pi * step", "2 * math.pi * step", "an angle up to pi"),
            (
                "(1 + math.cos(math.pi * step / total_steps)) / 2",
                "1 - step / total_steps",
                "a straight line",
            ),
            (" / 2", "", "2 times the right one"),
            (
                "(1 + math.cos(math.pi * step / total_steps)) / 2",
                "math.cos(math.pi / 2 * step / total_steps)",
                "half a cosine",
            ),
            ("math.pi * ", "", "one of your values is?"),
            ("total_steps)", "40)", "it is right with step=0"),
            ("math.cos(", "math.cos(torch.ones(3) * ", "your function raised"),
            ("return (1", "return 0.5 + (1", "off by +0.5"),
            ("step / total_steps", "step // total_steps", "it is right with"),
        ],
        [
            (
                "(1 + math.cos(math.pi * step / total_steps)) / 2",
                "math.cos(math.pi * step / total_steps / 2) ** 2",
            ),
            (
                "math.cos(math.pi * step / total_steps)",
                "torch.cos(torch.tensor(math.pi * step / total_steps))",
            ),
        ],
    ),
    "drop_labels": (
        "labels, probability, null_label",
        """
        lost = torch.rand(len(labels)) < probability
        return torch.where(lost, null_label, labels)""",
        [
            ("< prob", "> prob", "you keep the share"),
            ("rand(len(labels))", "rand(1)", "a random number for each label"),
            ("lost, null_label", "lost, -1", "must become `null_label`"),
            ("lost, null_label", "lost, 10", "must become `null_label`"),
            (
                "torch.rand(len(labels)) < probability",
                "torch.arange(len(labels)) < probability * len(labels)",
                "new ones at each call",
            ),
            (
                "torch.rand(len(labels)) < probability",
                "torch.randperm(len(labels)) < probability * len(labels)",
                "new ones at each call",
            ),
            ("        lost", "        torch.manual_seed(0)\n        lost", "new ones at each call"),
            ("< probability", "< 0.25", "?"),
            ("torch.where(lost, null_label, labels)", "labels[~lost]", "return labels"),
            (
                "torch.where(lost, null_label, labels)",
                "torch.where(lost, null_label, labels).float()",
                "must stay as they are",
            ),
            (
                "return torch.where(lost, null_label, labels)",
                "labels[lost] = null_label\n        return labels",
                "changes `labels`",
            ),
            ("torch.rand", "torch.randn", "?"),
        ],
        [
            (
                "torch.rand(len(labels)) < probability",
                "torch.bernoulli(torch.full((len(labels),), probability)).bool()",
            ),
            ("torch.where(lost, null_label, labels)", "labels.masked_fill(lost, null_label)"),
        ],
    ),
    "summed_gradient": (
        "net, batches",
        """
        for inputs, targets in batches:
            loss = nn.functional.mse_loss(net(inputs), targets) / len(batches)
            loss.backward()""",
        [
            (" / len(batches)", "", "divide each by len(batches)"),
            (
                "            loss =",
                "            net.zero_grad()\n            loss =",
                "only one batch",
            ),
            ("len(batches)", "len(inputs)", "divide by the number of batches"),
            ("loss.backward()", "pass", "only one in memory"),
            ("            loss.backward()", "        loss.backward()", "only one in memory"),
            ("len(batches)", "12", "one of your values is?"),
            ("loss.backward()", "loss.backward()\n        net.zero_grad()", "leave the gradient"),
            (
                "        for",
                "        batches = [[torch.cat(b) for b in zip(*batches)]]\n        for",
                "only one in memory",
            ),
            (
                "        for",
                "        a = [net(x) for x, _ in batches]\n        for",
                "only one in memory",
            ),
            ("mse_loss", "l1_loss", "?"),
            (
                "loss.backward()",
                "loss.backward()\n            net.weight.data -= net.weight.grad",
                "one of your values is?",
            ),
        ],
        [
            ("loss.backward()", "(2 * loss / 2).backward()"),
            (
                "nn.functional.mse_loss(net(inputs), targets)",
                "(net(inputs) - targets).square().mean()",
            ),
            ("loss.backward()", "loss.backward()\n        return loss"),
        ],
    ),
    "my_loss": (
        "net, x0, labels, t, noise",
        """
        w = t[:, None, None, None]
        xt = (1 - w) * x0 + w * noise
        velocity = noise - x0
        return ((net(xt, t, labels) - velocity) ** 2).mean()""",
        [
            ("velocity = noise - x0", "velocity = noise", "not the noise"),
            ("velocity = noise - x0", "velocity = x0", "not the image"),
            ("velocity = noise - x0", "velocity = x0 - noise", "the sign of the target is wrong"),
            ("(1 - w) * x0 + w * noise", "w * x0 + (1 - w) * noise", "x0 and noise are exchanged"),
            ("** 2)", "** 1).abs()", "absolute error"),
            (".mean()", ".sum()", "not their sum"),
            (".mean()", ".mean(0).sum()", "average over everything"),
            ("net(xt,", "net(x0,", "give the network xt, not x0"),
            ("net(xt,", "net(noise,", "give the network xt, not the noise"),
            ("t[:, None, None, None]", "t", "RuntimeError"),
            (".mean()", "", "a number is wanted"),
            (".mean()", ".mean().sqrt()", "this is the sqrt of the right result"),
            ("return ((net", "((net", "is a `return` missing"),
            ("net(xt, t, labels)", "net(xt, t)", "TypeError"),
            ("w = t[:, None, None, None]", "w = t.mean()", "?"),
            ("net(xt, t, labels)", "net(xt, 0 * t, labels)", "?"),
        ],
        [
            (") ** 2).mean()", ").square()).mean()"),
            (
                "return ((net(xt, t, labels) - velocity) ** 2).mean()",
                "return F.mse_loss(net(xt, t, labels), velocity)",
            ),
            ("(1 - w) * x0 + w * noise", "torch.lerp(x0, noise, w)"),
            ("t[:, None, None, None]", "t.reshape(-1, 1, 1, 1)"),
        ],
    ),
    "my_rate": (
        "step, total_steps, warmup_steps",
        """
        up = (step + 1) / warmup_steps
        down = (total_steps - step) / total_steps
        return min(1.0, up, down)""",
        [
            ("(step + 1)", "step", "the first step has the rate 0"),
            ("min(1.0, up, down)", "max(min(1.0, up), down)", "the larger of the two"),
            ("min(1.0, up, down)", "min(1.0, up) * down", "not their product"),
            ("min(1.0, up, down)", "min(1.0, up)", "the decay is missing"),
            ("min(1.0, up, down)", "down", "the warm-up is missing"),
            (
                "(total_steps - step) / total_steps",
                "1 - max(0, step - warmup_steps) / (total_steps - warmup_steps)",
                "begins at step 0",
            ),
            (
                "down = (total_steps - step) / total_steps",
                "down = 0.5 + (total_steps - step) / total_steps / 2",
                "fall to 0 at the end",
            ),
            ("return min(1.0, up, down)", "min(1.0, up, down)", "`return` missing"),
            ("(step + 1) / warmup_steps", "warmup_steps / (step + 1)", "?"),
            ("(total_steps - step)", "(total_steps - step - 1)", "?"),
            ("min(1.0, up, down)", "-min(1.0, up, down)", "the sign is wrong"),
            ("min(1.0, up, down)", "1 - min(1.0, up, down)", "1 minus the right result"),
            ("min(1.0, up, down)", "[min(1.0, up, down)]", "a number is wanted"),
            ("(total_steps - step) / total_steps", "step / total_steps", "?"),
        ],
        [
            ("min(1.0, up, down)", "torch.tensor([1.0, up, down]).min()"),
            ("(total_steps - step) / total_steps", "1 - step / total_steps"),
            ("min(1.0, up, down)", "min(up, down)"),
            ("return min(1.0, up, down)", "return down if down < up else min(up, 1.0)"),
        ],
    ),
    "mix_in": (
        "average, newest, n, exponent",
        """
        share = 1 - (n / (n + 1)) ** (exponent + 1)
        return average + share * (newest - average)""",
        [
            (
                "average + share * (newest - average)",
                "newest + share * (average - newest)",
                "the two are exchanged",
            ),
            ("(exponent + 1)", "exponent", "the power is exponent + 1"),
            (" ** (exponent + 1)", "", "this is the plain mean"),
            ("n / (n + 1)", "(n - 1) / n", "n counts the weights before"),
            ("share = 1 - (n / (n + 1)) ** (exponent + 1)", "share = 0.001", "a fixed share"),
            (
                "average + share * (newest - average)",
                "(1 - share) * average + newest",
                "must add up to 1",
            ),
            ("return average", "return newest", "?"),
            ("share * (newest - average)", "share * newest", "?"),
            (
                "average + share * (newest - average)",
                "average.lerp_(newest, share)",
                "changes `average`",
            ),
            ("return average", "average", "`return` missing"),
            ("average + share * (newest - average)", "(average + newest) / 2", "?"),
            ("average + share * (newest - average)", "newest", "this is `newest` as it came"),
            ("average + share * (newest - average)", "average", "this is `average` as it came"),
            ("n / (n + 1)", "n / (n - 1)", "?"),
        ],
        [
            ("average + share * (newest - average)", "torch.lerp(average, newest, share)"),
            ("average + share * (newest - average)", "(1 - share) * average + share * newest"),
            ("(n / (n + 1)) ** (exponent + 1)", "math.exp((exponent + 1) * math.log(n / (n + 1)))"),
            ("average + share", "average.clone() + share"),
        ],
    ),
    "train_step": (
        "net, x, target, optimizer, scaler, dtype",
        """
        device = next(net.parameters()).device
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype):
            prediction = net(x)
        loss = F.mse_loss(prediction.float(), target)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss.item()""",
        [
            ("scaler.step(optimizer)", "pass", "call scaler.step(optimizer)"),
            ("nn.utils.clip_grad_norm_(net.parameters(), 1.0)", "pass", "clip the gradient"),
            ("scaler.unscale_(optimizer)", "pass", "unscale before you clip"),
            ("optimizer.zero_grad()", "pass", "clear the old gradients"),
            ("with torch.autocast(device.type, dtype):", "if True:", "under torch.autocast"),
            ("scaler.scale(loss).backward()", "loss.backward()", "AssertionError"),
            ("scaler.update()", "pass", "use the scaler to the end"),
            ("return loss.item()", "pass", "`return` missing"),
            ("scaler.scale(loss).backward()", "pass", "raised"),
            ("device.type, dtype", "device.type, torch.float16", "?"),
            ("net.parameters(), 1.0", "net.parameters(), 0.1", "?"),
            ("optimizer.zero_grad()", "net = nn.Linear(3, 3)", "raised"),
            ("scaler.step(optimizer)", "optimizer.step()", "overflows must be skipped"),
            ("prediction.float(), target", "target, target", "raised"),
            ("F.mse_loss(", "F.l1_loss(", "?"),
        ],
        [
            ("optimizer.zero_grad()", "net.zero_grad()"),
            ("torch.autocast(device.type, dtype)", "torch.autocast('cpu', dtype=dtype)"),
            (
                "F.mse_loss(prediction.float(), target)",
                "(prediction.float() - target).square().mean()",
            ),
            ("scaler.update()", "scaler.update()\n        optimizer.zero_grad()"),
        ],
    ),
}
