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
}
