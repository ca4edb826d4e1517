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
            ("return (1", "(1", "`return` missing"),
            ("(1 + math.cos", "-(1 + math.cos", "the sign is wrong"),
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
            (
                "(1 + math.cos(math.pi * step / total_steps)) / 2",
                "math.cos(math.pi * step / total_steps) / 2 + 0.5",
            ),
            (
                "(1 + math.cos(math.pi * step / total_steps))",
                "(1 - math.cos(math.pi * (total_steps - step) / total_steps))",
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
            (
                "torch.where(lost, null_label, labels)",
                "torch.where(lost, labels, null_label)",
                "you keep the share",
            ),
            ("return torch", "torch", "`return` missing"),
        ],
        [
            (
                "torch.rand(len(labels)) < probability",
                "torch.bernoulli(torch.full((len(labels),), probability)).bool()",
            ),
            ("torch.where(lost, null_label, labels)", "labels.masked_fill(lost, null_label)"),
            (
                "torch.rand(len(labels)) < probability",
                "torch.rand_like(labels, dtype=torch.float32) < probability",
            ),
            (
                "return torch.where(lost, null_label, labels)",
                "labels = labels.clone()\n        labels[lost] = null_label\n        return labels",
            ),
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
            ("loss.backward()", "(-loss).backward()", "the sign is wrong"),
            ("len(batches)", "len(batches) ** 2", "inputs.shape[0] times too small"),
            ("len(batches)", "len(batches) * 2", "your result is 2 times the right one"),
            ("loss.backward()", "loss.detach().backward()", "RuntimeError"),
        ],
        [
            ("loss.backward()", "(2 * loss / 2).backward()"),
            (
                "nn.functional.mse_loss(net(inputs), targets)",
                "(net(inputs) - targets).square().mean()",
            ),
            ("loss.backward()", "loss.backward()\n        return loss"),
            ("loss.backward()", "torch.autograd.backward(loss)"),
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
            ("velocity = noise - x0", "velocity = noise", "the target is the velocity"),
            ("velocity = noise - x0", "velocity = x0", "the target is the velocity"),
            ("velocity = noise - x0", "velocity = x0 - noise", "the sign of the target is wrong"),
            ("(1 - w) * x0 + w * noise", "w * x0 + (1 - w) * noise", "x0 and noise are exchanged"),
            ("** 2)", "** 1).abs()", "absolute error"),
            (".mean()", ".sum()", "take the mean over everything"),
            (".mean()", ".mean(0).sum()", "take the mean over everything"),
            ("net(xt,", "net(x0,", "give the network xt"),
            ("net(xt,", "net(noise,", "give the network xt"),
            ("t[:, None, None, None]", "t", "RuntimeError"),
            (".mean()", "", "a number is wanted"),
            (".mean()", ".mean().sqrt()", "this is the sqrt of the right result"),
            ("return ((net", "((net", "is a `return` missing"),
            ("net(xt, t, labels)", "net(xt, t)", "TypeError"),
            ("w = t[:, None, None, None]", "w = t.mean()", "every image has its own time"),
            ("net(xt, t, labels)", "net(xt, 0 * t, labels)", "every image has its own time"),
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
            (
                "(total_steps - step) / total_steps",
                "step / total_steps",
                "the part of the run that remains",
            ),
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
            ("share * (newest - average)", "share * newest", "?"),
            (
                "average + share * (newest - average)",
                "average.lerp_(newest, share)",
                "changes `average`",
            ),
            ("return average", "average", "`return` missing"),
            ("average + share * (newest - average)", "(average + newest) / 2", "a fixed share"),
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
            (
                "with torch.autocast(device.type, dtype):",
                "if True:",
                "call net under torch.autocast",
            ),
            ("scaler.scale(loss).backward()", "loss.backward()", "AssertionError"),
            ("scaler.update()", "pass", "unscale_() is being called after step()"),
            ("return loss.item()", "pass", "`return` missing"),
            ("scaler.scale(loss).backward()", "pass", "raised"),
            ("device.type, dtype", "device.type, torch.float16", "so that it computes in dtype"),
            ("net.parameters(), 1.0", "net.parameters(), 0.1", "clip the gradient to length 1"),
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
    "adamw_step": (
        "p, grad, mean, squares, k, lr",
        """
        mean = 0.9 * mean + 0.1 * grad
        squares = 0.97 * squares + 0.03 * grad**2
        mean_hat = mean / (1 - 0.9**k)
        squares_hat = squares / (1 - 0.97**k)
        p = p - lr * 0.01 * p
        p = p - lr * mean_hat / (squares_hat.sqrt() + 1e-8)
        return p, mean, squares""",
        [
            ("grad**2", "grad", "squares is the mean of grad**2"),
            ("0.9 * mean + 0.1 * grad", "0.1 * mean + 0.9 * grad", "mean keeps 0.9 of itself"),
            ("0.97 * squares + 0.03 *", "0.999 * squares + 0.001 *", "squares 0.97"),
            ("p = p - lr * 0.01 * p", "pass", "weight decay is missing"),
            ("lr * 0.01 * p", "0.01 * p", "the weights shrink by lr * 0.01"),
            (
                "mean = 0.9 *",
                "grad = grad + 0.01 * p\n        mean = 0.9 *",
                "p: weight decay is no part",
            ),
            ("mean / (1 - 0.9**k)", "mean", "both means begin at 0"),
            ("squares / (1 - 0.97**k)", "squares", "both means begin at 0"),
            ("squares_hat.sqrt()", "squares_hat", "divide by the root of squares_hat"),
            ("p - lr * mean_hat", "p + lr * mean_hat", "the step goes downhill"),
            ("p - lr * mean_hat", "p - mean_hat", "multiply the step by lr"),
            ("return p, mean, squares", "return p", "3 results are wanted"),
            ("mean = 0.9 * mean + 0.1 * grad", "mean.mul_(0.9).add_(0.1 * grad)", "changes `mean`"),
            ("return p, mean, squares", "return mean, squares, p", "?"),
            ("        return p,", "        p = p - lr * 0.01 * p\n        return p,", "?"),
            ("return p, mean, squares", "p, mean, squares", "`return` missing"),
        ],
        [
            ("0.9 * mean + 0.1 * grad", "torch.lerp(mean, grad, 0.1)"),
            ("p - lr * 0.01 * p", "(1 - lr * 0.01) * p"),
            ("squares_hat.sqrt()", "squares_hat**0.5"),
            ("grad**2", "grad.square()"),
            ("return p, mean, squares", "return [p, mean, squares]"),
        ],
    ),
    "clip_factor": (
        "gradients, max_norm",
        """
        squares = sum(g.square().sum() for g in gradients)
        length = squares**0.5
        return min(1.0, max_norm / length)""",
        [
            ("min(1.0, max_norm / length)", "max_norm / length", "a short gradient stays as it is"),
            ("min(", "max(", "the smaller of 1 and"),
            ("max_norm / length", "length / max_norm", "divide max_norm by the length"),
            ("squares**0.5", "squares", "the root of the sum of the squares"),
            ("g.square().sum()", "g.square().sum() ** 0.5", "?"),
            (
                "length = squares**0.5",
                "length = sum(g.norm() for g in gradients)",
                "add up the squares of all",
            ),
            ("length = squares**0.5", "length = gradients[0].norm()", "add up the squares of all"),
            (
                "length = squares**0.5",
                "length = max(g.abs().max() for g in gradients)",
                "the length is not the sum or",
            ),
            (
                "length = squares**0.5",
                "length = sum(g.abs().sum() for g in gradients)",
                "the length is not the sum or",
            ),
            ("min(1.0, max_norm / length)", "length", "this is the length"),
            ("max_norm / length", "1 / length", "becomes max_norm, not 1"),
            ("g.square().sum()", "g.square().mean()", "?"),
            ("return min", "min", "`return` missing"),
            ("g.square().sum()", "g.square()", "RuntimeError"),
            (
                "min(1.0, max_norm / length)",
                "[g * min(1.0, max_norm / length) for g in gradients]",
                "a number is wanted",
            ),
            ("gradients)", "gradients[1:])", "add up the squares of all"),
        ],
        [
            (
                "squares = sum(g.square().sum() for g in gradients)\n        length = squares**0.5",
                "length = torch.cat([g.flatten() for g in gradients]).norm()",
            ),
            ("squares**0.5", "math.sqrt(squares)"),
            ("squares**0.5", "squares.sqrt()"),
            ("min(1.0, max_norm / length)", "(max_norm / length).clamp(max=1)"),
            ("min(1.0, max_norm / length)", "1.0 if length < max_norm else max_norm / length"),
        ],
    ),
    "resumable": (
        "one_step, net, optimizer, generator, last, saved",
        """
        step = 0
        if saved is not None:
            net.load_state_dict(saved["net"])
            optimizer.load_state_dict(saved["optimizer"])
            generator.set_state(saved["generator"])
            step = saved["step"]
        while step < last:
            one_step()
            step += 1
        return {
            "net": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": generator.get_state(),
            "step": step,
        }""",
        [
            ('net.load_state_dict(saved["net"])', "pass", "net: save its state"),
            ('optimizer.load_state_dict(saved["optimizer"])', "pass", "optimizer: save its state"),
            ('generator.set_state(saved["generator"])', "pass", "generator: save its state"),
            ('step = saved["step"]', "pass", "go on from the step that was saved"),
            ("if saved is not None", "if False", "save its state"),
            ("if saved is not None", "if True", "TypeError"),
            ('"step": step,', "", "KeyError"),
            ('"optimizer": optimizer.state_dict()', '"optimizer": None', "'NoneType' object"),
            ("step < last", "step < last - 1", "`last` steps in all are wanted"),
            ("step < last", "step <= last", "`last` steps in all are wanted"),
            ('"step": step', '"step": step - 1', "`last` steps in all are wanted"),
            ("            step += 1", "            step += 2", "?"),
            ("step < last", "step < saved", "TypeError"),
            ("        return {", "        state = {", "`return` missing"),
            ('saved["net"]', "saved", "RuntimeError"),
            ("step += 1", "pass", "did not end within"),
            (
                'generator.set_state(saved["generator"])',
                "generator.manual_seed(0)",
                "generator: one of your values is?",
            ),
            ("net.state_dict()", "net", "TypeError"),
            ("generator.get_state()", "generator.state_dict()", "AttributeError"),
        ],
        [
            (
                "while step < last:\n            one_step()\n            step += 1",
                "[one_step() for _ in range(step, last)]\n        step = last",
            ),
            ("if saved is not None", "if saved"),
            ("step = 0", 'step = saved["step"] if saved else 0'),
            ('"step": step', '"step": last'),
            ("generator.get_state()", "generator.get_state().clone()"),
        ],
    ),
    "diagnose": (
        "",
        "return 4, 1, 3, 2",
        [
            ("4, 1, 3, 2", "1, 1, 3, 2", "A: with far too high a rate"),
            ("4, 1, 3, 2", "2, 1, 3, 2", "A: with far too low a rate"),
            ("4, 1, 3, 2", "3, 1, 3, 2", "A: noise that is not in xt"),
            ("4, 1, 3, 2", "5, 1, 3, 2", "A: the squares of bytes"),
            ("4, 1, 3, 2", "4, 5, 3, 2", "B: the squares of bytes"),
            ("4, 1, 3, 2", "4, 3, 1, 2", "B: noise that is not in xt"),
            ("4, 1, 3, 2", "4, 1, 2, 3", "C: with far too low a rate"),
            ("4, 1, 3, 2", "4, 1, 4, 2", "C: one image alone"),
            ("4, 1, 3, 2", "4, 1, 3, 1", "D: with far too high a rate"),
            ("4, 1, 3, 2", "4, 1, 3", "4 results are wanted"),
            ("4, 1, 3, 2", "1, 2, 3, 4", "D: one image alone"),
            ("4, 1, 3, 2", "4, 1, 3, 6", "?"),
            ("4, 1, 3, 2", "4, 1, 3, None", "D: it is open"),
            ("4, 1, 3, 2", "'4132'", "?"),
        ],
        [
            ("4, 1, 3, 2", "[4, 1, 3, 2]"),
            ("4, 1, 3, 2", "torch.tensor([4, 1, 3, 2])"),
            ("4, 1, 3, 2", "4.0, 1.0, 3.0, 2.0"),
            ("4, 1, 3, 2", "tuple(map(int, '4132'))"),
        ],
    ),
    "more_than_chance": (
        "distances",
        """
        mean = distances.mean(1)
        gain = mean[:-1] - mean[1:]
        variance = distances.var(1).mean()
        error = (2 * variance / distances.shape[1]) ** 0.5
        return gain > 2 * error""",
        [
            ("mean[:-1] - mean[1:]", "mean[1:] - mean[:-1]", "a smaller distance is better"),
            ("mean[:-1] - mean[1:]", "(mean[:-1] - mean[1:]).abs()", "only a gain counts"),
            ("gain > 2 * error", "gain > error", "twice the standard error"),
            ("(2 * variance", "(variance", "two means differ"),
            (" / distances.shape[1]", "", "S times less variance"),
            ("gain > 2 * error", "gain > 0", "any gain is let through"),
            ("distances.var(1).mean()", "distances.var(1)[1:]", "one variance for all"),
            ("distances.var(1).mean()", "distances.var(1)[:-1]", "one variance for all"),
            ("distances.var(1).mean()", "distances.var()", "over its seeds"),
            ("distances.mean(1)", "distances.mean(0)", "the shape should be"),
            ("return gain > 2 * error", "return gain", "the values should be of type"),
            ("gain > 2 * error", "gain < 2 * error", "?"),
            ("return gain", "gain", "`return` missing"),
            ("distances.shape[1]", "len(distances)", "?"),
            (
                "distances.var(1).mean()",
                "distances.std(1).mean() ** 2",
                "the mean of the variances",
            ),
            ("distances.var(1)", "distances.var(1, correction=0)", "divides by S - 1"),
            (
                "return gain > 2 * error",
                "return bool((gain > 2 * error).all())",
                "a tensor is wanted",
            ),
        ],
        [
            ("distances.var(1).mean()", "distances.std(1).square().mean()"),
            ("mean[:-1] - mean[1:]", "-mean.diff()"),
            ("gain > 2 * error", "gain / error > 2"),
            ("gain > 2 * error", "torch.stack([g > 2 * error for g in gain])"),
        ],
    ),
    "chosen_afterwards": (
        "copies, times, exponents, n",
        """
        k = torch.arange(1, n + 1).double()[:, None]

        def shares(time, exponent):
            power = exponent + 1
            parts = (k**power - (k - 1) ** power) / time**power
            return torch.where(k <= time, parts, 0.0)

        kept, wanted = shares(times, exponents), shares(n, 8.0)
        parts = torch.linalg.lstsq(kept, wanted).solution[:, 0]
        return parts @ copies""",
        [
            ("torch.where(k <= time, parts, 0.0)", "parts", "steps after the time of a copy"),
            ("power = exponent + 1", "power = exponent", "the power is exponent + 1"),
            ("shares(times, exponents)", "shares(n, exponents)", "an average of T steps"),
            ("parts @ copies", "copies.mean(0)", "unequal parts"),
            ("parts @ copies", "copies[-1]", "this is one copy"),
            ("return parts @ copies", "return parts", "the shape should be"),
            ("shares(n, 8.0)", "shares(n, 9.0)", "?"),
            ("shares(n, 8.0)", "shares(times[-1], 8.0)", "?"),
            ("k <= time", "k < time", "?"),
            ("parts @ copies", "(parts[:, None] * copies)", "the shape should be"),
            ("return parts @ copies", "parts @ copies", "`return` missing"),
            ("lstsq(kept, wanted)", "lstsq(wanted, kept)", "RuntimeError"),
            ("parts @ copies", "-parts @ copies", "the sign is wrong"),
            (".double()[:, None]", "[:, None]", "to have the same dtype"),
            ("(k - 1) ** power", "k ** power", "every value is 0"),
        ],
        [
            (
                "torch.linalg.lstsq(kept, wanted).solution[:, 0]",
                "(torch.linalg.pinv(kept) @ wanted)[:, 0]",
            ),
            ("torch.where(k <= time, parts, 0.0)", "parts * (k <= time)"),
            ("parts @ copies", "(parts[:, None] * copies).sum(0)"),
            (
                "torch.linalg.lstsq(kept, wanted).solution[:, 0]",
                "torch.linalg.solve(kept.T @ kept, kept.T @ wanted)[:, 0]",
            ),
        ],
    ),
}
