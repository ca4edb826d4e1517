"""Answers to the exercises of lesson 06, wrong and right; see test_checks.py."""

from . import Corpus

CORPUS: Corpus = {
    "ddim_step": (
        "path, x, x0_hat, t, t_next",
        """
        alpha, sigma = path.alpha(t), path.sigma(t)
        alpha_next, sigma_next = path.alpha(t_next), path.sigma(t_next)
        noise_hat = (x - alpha * x0_hat) / sigma
        return alpha_next * x0_hat + sigma_next * noise_hat""",
        [
            (") / sigma", ")", "divide what is left"),
            ("sigma_next * noise_hat", "sigma_next * x", "x is not the noise"),
            ("(x - alpha * x0_hat)", "(alpha * x0_hat - x)", "the noise is x - alpha"),
            ("(x - alpha * x0_hat)", "(x - x0_hat)", "the noise is x - alpha"),
            (
                "alpha_next * x0_hat + sigma_next * noise_hat",
                "x + (t_next - t) * (x - x0_hat) / t",
                "the straight path only",
            ),
            (
                "(x - alpha * x0_hat) / sigma",
                "(x - (1 - t) * x0_hat) / t",
                "the straight path only",
            ),
            (
                "alpha_next * x0_hat + sigma_next",
                "(1 - t_next) * x0_hat + t_next",
                "the straight path only",
            ),
            ("alpha_next * x0_hat + sigma_next", "alpha * x0_hat + sigma", "this has not moved"),
            (
                "alpha_next * x0_hat + sigma_next * noise_hat",
                "alpha_next * noise_hat + sigma_next * x0_hat",
                "alpha belongs to x0_hat",
            ),
            (
                "path.alpha(t_next), path.sigma(t_next)",
                "path.alpha(t), path.sigma(t)",
                "this has not moved",
            ),
            ("return alpha_next * x0_hat + sigma_next * noise_hat", "return x0_hat", "`x0_hat` as"),
            ("return alpha_next", "x = alpha_next", "returns None"),
            ("path.alpha(t), path.sigma(t)", "path.alpha, path.sigma", "raised TypeError"),
            (
                "sigma = path.alpha(t), path",
                "sigma = path.d_alpha(t), path",
                "one of your values is?",
            ),
        ],
        [
            (
                "alpha_next * x0_hat + sigma_next * noise_hat",
                "path.mix(x0_hat, noise_hat, t_next)",
            ),
            ("(x - alpha * x0_hat) / sigma", "path.noise_from_x0(x, x0_hat, t)"),
            (
                "alpha_next * x0_hat + sigma_next * noise_hat",
                "sigma_next / sigma * x + (alpha_next - sigma_next / sigma * alpha) * x0_hat",
            ),
            (
                "noise_hat = (x - alpha * x0_hat) / sigma",
                "v = path.velocity_from_x0(x, x0_hat, t)\n        "
                "noise_hat = path.split(x, v, t)[1]",
            ),
        ],
    ),
    "sample": (
        "denoise, x, times",
        """
        x0_hats = []
        for t, t_next in zip(times[:-1], times[1:]):
            x0_hat = denoise(x, t)
            x0_hats.append(x0_hat)
            noise_hat = (x - (1 - t) * x0_hat) / t
            x = (1 - t_next) * x0_hat + t_next * noise_hat
        return x, torch.stack(x0_hats)""",
        [
            ("denoise(x, t)", "denoise(x, t_next)", "never evaluate at t = 0"),
            ("x0_hats.append(x0_hat)", "x0_hats.append(x)", "these are the x"),
            ("return x, torch.stack(x0_hats)", "return torch.stack(x0_hats), x", "exchanged"),
            ("return x, torch.stack(x0_hats)", "return x", "2 results are wanted"),
            ("torch.stack(x0_hats)", "x0_hats", "x0_hats: a tensor is wanted"),
            ("torch.stack(x0_hats)", "x0_hat", "of all steps"),
            ("torch.stack(x0_hats)", "torch.cat(x0_hats)", "the shape should be"),
            (
                "zip(times[:-1], times[1:])",
                "zip(times[:-2], times[1:-1])",
                "the last step is missing",
            ),
            ("torch.stack(x0_hats)", "torch.stack(x0_hats[::-1])", "of all steps"),
            (
                "            x = (1 - t_next)",
                "            y = (1 - t_next)",
                "x: this is `x` as it came",
            ),
            (
                "x0_hats = []",
                "x0_hats, start = [], x\n        denoise_, denoise = denoise, None",
                "raised TypeError",
            ),
            (
                "return x, torch",
                "    return x, torch",
                "the shape should be",
            ),
            (
                "x = (1 - t_next) * x0_hat + t_next * noise_hat",
                "x = x - (t_next - t) * (noise_hat - x0_hat)",
                "one of your values is?",
            ),
        ],
        [
            (
                "x = (1 - t_next) * x0_hat + t_next * noise_hat",
                "x = x + (t_next - t) * (noise_hat - x0_hat)",
            ),
            (
                "x = (1 - t_next) * x0_hat + t_next * noise_hat",
                "x = FLOW.mix(x0_hat, noise_hat, t_next)",
            ),
            ("return x, torch.stack(x0_hats)", "return [x, torch.stack(x0_hats)]"),
            ("t, t_next in zip(times[:-1], times[1:])", "t, t_next in times.unfold(0, 2, 1)"),
        ],
    ),
    "heun_step": (
        "denoise, x, t, t_next",
        """
        velocity = (x - denoise(x, t)) / t
        landed = x + (t_next - t) * velocity
        if t_next == 0:
            return landed
        velocity_next = (landed - denoise(landed, t_next)) / t_next
        return x + (t_next - t) * (velocity + velocity_next) / 2""",
        [
            (
                "return x + (t_next - t) * (velocity + velocity_next) / 2",
                "return landed",
                "evaluate again",
            ),
            (" / 2", "", "the mean of the two"),
            ("return x + (t_next", "return landed + (t_next", "go back to x"),
            ("(velocity + velocity_next) / 2", "velocity_next", "the mean of both"),
            ("(velocity + velocity_next) / 2", "velocity_next / 2", "the mean of both"),
            ("denoise(landed, t_next)) / t_next", "denoise(landed, t)) / t", "of time t_next"),
            ("(landed - denoise(landed", "(x - denoise(x", "where Euler's step lands"),
            ("denoise(landed", "denoise(x", "where Euler's step lands"),
            ("t_next == 0", "t_next < 0", "where v divides by zero"),
            (
                "(t_next - t) * (velocity + velocity_next)",
                "(t - t_next) * (velocity + velocity_next)",
                "which is negative",
            ),
            ("(t_next - t)", "(t - t_next)", "one of your values is?"),
            ("return landed", "return x", "`x` as it came"),
            ("return x + (t_next", "y = x + (t_next", "returns None"),
            (
                "velocity_next = (landed - denoise(landed, t_next)) / t_next\n        "
                "return x + (t_next - t) * (velocity + velocity_next) / 2",
                "half = (t + t_next) / 2\n        middle = (x + landed) / 2\n        "
                "return x + (t_next - t) * (middle - denoise(middle, half)) / half",
                "the midpoint method",
            ),
            ("landed = x +", "landed = x = x +", "go back to x"),
        ],
        [
            ("(velocity + velocity_next) / 2", "torch.stack([velocity, velocity_next]).mean(0)"),
            ("if t_next == 0", "if not t_next > 0"),
            ("return landed", "return denoise(x, t)"),
            (
                "return x + (t_next - t) * (velocity + velocity_next) / 2",
                "return landed + (t_next - t) * (velocity_next - velocity) / 2",
            ),
        ],
    ),
    "midpoint_step": (
        "denoise, x, t, t_next",
        """
        t_half = (t + t_next) / 2
        velocity = (x - denoise(x, t)) / t
        x_half = x + (t_half - t) * velocity
        velocity_half = (x_half - denoise(x_half, t_half)) / t_half
        return x + (t_next - t) * velocity_half""",
        [
            ("* velocity_half", "* velocity", "one step of Euler"),
            ("return x + (t_next - t)", "return x + (t_half - t)", "the whole step from x"),
            ("return x +", "return x_half +", "go back to x"),
            ("return x + (t_next - t)", "return x_half + (t_next - t_half)", "go back to x"),
            (
                "denoise(x_half, t_half)) / t_half",
                "denoise(x_half, t)) / t",
                "evaluation is at time",
            ),
            ("/ t_half", "/ t", "the second evaluation is at time"),
            ("(t_next - t)", "(t - t_next)", "which is negative"),
            (
                "(x_half - denoise(x_half, t_half))",
                "(x - denoise(x, t_half))",
                "at x_half, not at x",
            ),
            (
                "return x + (t_next - t) * velocity_half",
                "return velocity_half",
                "one of your values?",
            ),
            ("return x + (t_next - t) * velocity_half", "return x", "`x` as it came"),
            ("return x +", "x +", "returns None"),
            ("(t + t_next) / 2", "(t - t_next) / 2", "one of your values?"),
            (
                "t_half = (t + t_next) / 2",
                "t_half = t_next",
                "one of your values?",
            ),
            (
                "return x + (t_next - t) * velocity_half",
                "x += (t_next - t) * velocity_half\n        return x",
                "changes `x`",
            ),
        ],
        [
            ("(t + t_next) / 2", "t + 0.5 * (t_next - t)"),
            ("(x - denoise(x, t)) / t", "FLOW.velocity_from_x0(x, denoise(x, t), t)"),
            ("(t_half - t) * velocity", "(t_next - t) * velocity / 2"),
            ("(t_next - t) * velocity_half", "2 * (t_half - t) * velocity_half"),
        ],
    ),
    "fitted_order": (
        "steps, errors",
        """
        x, y = torch.log(steps), torch.log(errors)
        x, y = x - x.mean(), y - y.mean()
        slope = (x * y).sum() / (x * x).sum()
        return -slope""",
        [
            ("return -slope", "return slope", "minus the slope"),
            ("torch.log(steps)", "steps", "the logarithm of both"),
            ("torch.log(errors)", "errors", "the logarithm of both"),
            ("torch.log(steps), torch.log(errors)", "steps, errors", "the logarithm of both"),
            ("x, y = x - x.mean(), y - y.mean()", "pass", "subtract the means"),
            (" / (x * x).sum()", "", "divide by the sum of the squares"),
            ("(x * x)", "(y * y)", "divide by the sum of the squares"),
            ("(x * y).sum() / (x * x).sum()", "(y[-1] - y[0]) / (x[-1] - x[0])", "use all points"),
            ("(x * y).sum() / (x * x).sum()", "(y[1] - y[0]) / (x[1] - x[0])", "use all points"),
            ("(x * y).sum() / (x * x).sum()", "y / x", "a number is wanted"),
            ("return -slope", "print(-slope)", "it prints its result"),
            ("return -slope", "return 1 / slope", "one of your values?"),
            ("return -slope", "return round(float(-slope))", "one of your values?"),
            ("return -slope", "return 2 ** -slope", "?"),
        ],
        [
            ("torch.log(steps), torch.log(errors)", "steps.log2(), errors.log2()"),
            ("return -slope", "return -slope.item()"),
            ("(x * y).sum() / (x * x).sum()", "torch.cov(torch.stack([x, y]))[0, 1] / x.var()"),
            (
                "(x * y).sum() / (x * x).sum()",
                "torch.linalg.lstsq(x[:, None], y[:, None])[0][0, 0]",
            ),
        ],
    ),
    "noisy_step": (
        "path, x, x0_hat, fresh, t, t_next",
        """
        alpha, sigma = path.alpha(t), path.sigma(t)
        alpha_next, sigma_next = path.alpha(t_next), path.sigma(t_next)
        noise_hat = (x - alpha * x0_hat) / sigma
        s = sigma_next / sigma * (sigma**2 - (alpha / alpha_next * sigma_next) ** 2).sqrt()
        kept = (sigma_next**2 - s**2).sqrt()
        return alpha_next * x0_hat + kept * noise_hat + s * fresh""",
        [
            (" + s * fresh", "", "add the fresh noise"),
            ("kept * noise_hat + s * fresh", "sigma_next * noise_hat", "this is DDIM"),
            ("+ kept * noise_hat", "+ sigma_next * noise_hat", "keep less of the old noise"),
            ("(sigma_next**2 - s**2).sqrt()", "sigma_next - s", "keep less of the old noise"),
            ("+ s * fresh", "+ s**2 * fresh", "take the square root"),
            ("kept * noise_hat + s * fresh", "s * noise_hat + kept * fresh", "exchanged"),
            ("kept * noise_hat + s * fresh", "sigma_next * fresh", "keep a part"),
            ("+ kept * noise_hat", "", "keep a part"),
            ("kept * noise_hat", "kept * x", "x is not its noise"),
            (") / sigma\n", ")\n", "divide what is left"),
            ("return alpha_next", "return alpha", "the factor of x0_hat"),
            ("* fresh", "* torch.randn_like(x)", "one of your values?"),
            ("(sigma_next**2 - s**2).sqrt()", "sigma_next**2 - s**2", "one of your values?"),
            ("return alpha_next", "x = alpha_next", "returns None"),
        ],
        [
            ("(sigma_next**2 - s**2).sqrt()", "sigma_next**2 * alpha / (sigma * alpha_next)"),
            ("(x - alpha * x0_hat) / sigma", "path.noise_from_x0(x, x0_hat, t)"),
            ("(sigma_next**2 - s**2).sqrt()", "torch.sqrt((sigma_next**2 - s**2).clamp(min=0))"),
            (
                "return alpha_next * x0_hat + kept * noise_hat",
                "return path.mix(x0_hat, noise_hat, t_next) - (sigma_next - kept) * noise_hat",
            ),
        ],
    ),
    "guided_guess": (
        "denoise, xt, t, labels, null_label, guidance_scale, interval",
        """
        low, high = interval
        with_label = denoise(xt, t, labels)
        if not low <= t <= high:
            return with_label
        without = denoise(xt, t, torch.full_like(labels, null_label))
        return without + guidance_scale * (with_label - without)""",
        [
            ("if not low <= t <= high", "if False", "guide only between"),
            (
                "without + guidance_scale * (with_label - without)",
                "with_label + guidance_scale * (without - with_label)",
                "the estimates are exchanged",
            ),
            ("return without +", "return with_label +", "scale 1 is no guidance"),
            ("null_label)", "0)", "has the null label"),
            ("return without +", "return", "add the estimate"),
            (
                "            return with_label",
                "            return denoise(xt, t, null_label)",
                "has the labels",
            ),
            ("if not low", "if low", "inside and outside are exchanged"),
            (
                "return without + guidance_scale * (with_label - without)",
                "return with_label",
                "one estimate",
            ),
            (
                "return without + guidance_scale * (with_label - without)",
                "return without",
                "this is one estimate alone",
            ),
            ("guidance_scale *", "2.5 *", "?"),
            ("return without", "without", "returns None"),
            ("not low <= t <= high", "t <= low", "?"),
            ("torch.full_like(labels, null_label)", "torch.full_like(labels, -1)", "?"),
            (
                "without = denoise(xt, t, torch.full_like(labels, null_label))",
                "labels[:] = null_label\n        without = denoise(xt, t, labels)",
                "changes `labels`",
            ),
            ("(with_label - without)", "(without - with_label)", "the estimates are exchanged"),
        ],
        [
            (
                "without + guidance_scale * (with_label - without)",
                "torch.lerp(without, with_label, guidance_scale)",
            ),
            ("torch.full_like(labels, null_label)", "labels * 0 + null_label"),
            (
                "without = denoise(xt, t, torch.full_like(labels, null_label))",
                "both = torch.cat([labels, torch.full_like(labels, null_label)])\n        "
                "with_label, without = denoise(torch.cat([xt, xt]), t, both).chunk(2)",
            ),
            (
                "without + guidance_scale * (with_label - without)",
                "guidance_scale * with_label + (1 - guidance_scale) * without",
            ),
        ],
    ),
    "images_seen": (
        "steps",
        "return 2 * steps, 2 * (2 * steps - 1), 2 * steps",
        [
            (
                "2 * steps, 2 * (2 * steps - 1), 2 * steps",
                "steps, 2 * steps - 1, steps",
                "ddim: with guidance",
            ),
            ("2 * (2 * steps - 1)", "4 * steps", "heun: the last step"),
            (", 2 * steps", ", 4 * steps", "dpmpp_2m: it remembers"),
            ("2 * (2 * steps - 1)", "2 * steps", "heun: the last step"),
            (
                "2 * (2 * steps - 1), 2 * steps",
                "2 * steps, 2 * (2 * steps - 1)",
                "heun: the last step of heun has one evaluation; dpmpp_2m: it",
            ),
            (", 2 * steps", "", "3 results are wanted"),
            ("2 * (2 * steps - 1)", "14", "heun: ?"),
            ("return 2 * steps,", "return 2 * steps + 1,", "ddim: your result is off by +1"),
            ("2 * (2 * steps - 1)", "2 * (2 * steps) - 1", "heun: your result is off by +1"),
            ("2 * (2 * steps - 1)", "2 * steps - 1", "heun: with guidance"),
            ("2 * (2 * steps - 1)", "4 * (steps - 1)", "heun: the last step"),
            (", 2 * steps", ", None", "dpmpp_2m: it is open"),
            ("return 2", "_ = 2", "returns None"),
            (
                "return 2 * steps, 2 * (2 * steps - 1), 2 * steps",
                "return 6 * steps - 2",
                "3 results",
            ),
            (", 2 * steps", ", steps", "dpmpp_2m: with guidance"),
        ],
        [
            (
                "return 2 * steps, 2 * (2 * steps - 1), 2 * steps",
                "return [2 * steps, 4 * steps - 2, steps * 2.0]",
            ),
            ("2 * (2", "torch.tensor(2) * (2"),
            (
                "return 2 * steps, 2 * (2 * steps - 1), 2 * steps",
                "return torch.tensor([2 * steps, 4 * steps - 2, 2 * steps])",
            ),
            ("2 * (2 * steps - 1)", "2 * (steps + steps - 1)"),
        ],
    ),
    "foreseen": (
        "x0_hat, x0_before, h, h_before",
        """
        slope = (x0_hat - x0_before) / h_before
        return x0_hat + slope * h / 2""",
        [
            ("h / 2", "h", "take the midpoint"),
            (
                "(x0_hat - x0_before) / h_before",
                "(x0_hat - x0_before) * h_before / h / h",
                "by h / h_before",
            ),
            (" / h_before", " / h", "by h / h_before"),
            ("x0_hat + slope", "x0_hat - slope", "the sign is wrong"),
            ("return x0_hat +", "return x0_before +", "the newer estimate"),
            (" / h_before", "", "by h / h_before"),
            ("return x0_hat + slope * h / 2", "return x0_hat", "`x0_hat` as it came"),
            ("return x0_hat + slope", "x0_hat += slope", "returns None"),
            (
                "return x0_hat + slope * h / 2",
                "x0_hat += slope * h / 2\n        return x0_hat",
                "changes `x0_hat`",
            ),
            (
                "slope * h / 2",
                "(x0_hat - x0_before) * (h / 2 * h_before) / h_before / h_before",
                "nan",
            ),
            (
                "return x0_hat + slope * h / 2",
                "return (x0_hat * h_before + (x0_hat - x0_before) * h / 2) / h_before",
                "h_before=inf (it is right with",
            ),
            ("(x0_hat - x0_before)", "(x0_before - x0_hat)", "the sign is wrong"),
            ("return x0_hat + slope * h / 2", "return slope * h / 2", "the newer estimate"),
            ("h_before\n", "(h + h_before)\n", "?"),
        ],
        [
            ("slope * h / 2", "(x0_hat - x0_before) * (h / h_before / 2)"),
            ("x0_hat + slope", "x0_hat.double() + slope"),
            ("x0_hat + slope * h / 2", "torch.lerp(x0_before, x0_hat, 1 + h / h_before / 2)"),
            (
                "x0_hat + slope * h / 2",
                "x0_hat * (1 + h / (2 * h_before)) - x0_before * h / (2 * h_before)",
            ),
        ],
    ),
    "steer_away": (
        "denoise, labels, unwanted, guidance_scale",
        """
        both_labels = torch.cat([labels, torch.full_like(labels, unwanted)])

        def steered(xt, t):
            wanted, other = denoise(torch.cat([xt, xt]), t, both_labels).chunk(2)
            return torch.lerp(other, wanted, guidance_scale)

        return steered""",
        [
            ("wanted, other =", "other, wanted =", "the two are exchanged"),
            (
                "torch.lerp(other, wanted, guidance_scale)",
                "wanted + guidance_scale * (wanted - other)",
                "scale 1 is no guidance",
            ),
            ("torch.lerp(other, wanted, guidance_scale)", "wanted", "nothing is steered"),
            ("torch.lerp(other, wanted, guidance_scale)", "other", "one estimate alone"),
            ("guidance_scale)\n", "2.5)\n", "index [0, 2, 3, 5] of axis 0"),
            (
                "torch.full_like(labels, unwanted)",
                "torch.full_like(labels, 3)",
                "one of your values is?",
            ),
            ("return torch.lerp", "torch.lerp", "returns None"),
            ("        return steered", "        pass", "returns None"),
            (
                "            return torch",
                "            labels.fill_(unwanted)\n            return torch",
                "changes `labels`",
            ),
            (
                "            wanted, other",
                "            both_labels[:] = both_labels.roll(1)\n            wanted, other",
                "?",
            ),
            (
                "return torch.lerp(other, wanted, guidance_scale)",
                "return torch.lerp(wanted, other, guidance_scale)",
                "the two are exchanged",
            ),
            ("return steered", "return steered(labels, labels)", "raised RuntimeError"),
            (
                "torch.lerp(other, wanted, guidance_scale)",
                "torch.lerp(other, wanted, 1.0)",
                "alone",
            ),
            ("denoise(torch.cat([xt, xt])", "denoise(xt", "raised RuntimeError"),
        ],
        [
            (
                "torch.lerp(other, wanted, guidance_scale)",
                "guidance_scale * wanted + (1 - guidance_scale) * other",
            ),
            (
                "torch.lerp(other, wanted, guidance_scale)",
                "other + guidance_scale * (denoise(xt, t, labels) - other)",
            ),
            (
                "torch.lerp(other, wanted, guidance_scale)",
                "wanted + (guidance_scale - 1) * (wanted - other)",
            ),
            ("torch.full_like(labels, unwanted)", "labels * 0 + unwanted"),
        ],
    ),
    "noise_of_each": (
        "indices, seed",
        """
        images = []
        for i in indices:
            generator = torch.Generator().manual_seed(1000 * seed + i)
            images.append(torch.randn(3, 32, 32, generator=generator))
        return torch.stack(images)""",
        [
            ("1000 * seed + i", "seed", "all images are the same"),
            ("1000 * seed + i", "i", "another seed gives the same"),
            ("1000 * seed + i", "seed + i", "not seed + index"),
            ("generator=generator", "", "an image changes with the others"),
            (
                "for i in indices:\n            generator = torch.Generator()"
                ".manual_seed(1000 * seed + i)",
                "generator = torch.Generator().manual_seed(seed)\n        for i in indices:",
                "an image changes with the others",
            ),
            ("torch.randn(", "torch.rand(", "this is uniform noise"),
            ("torch.stack(images)", "images", "a tensor of shape"),
            ("torch.stack(images)", "torch.cat(images)", "a tensor of shape"),
            ("(3, 32, 32, gen", "(32, 32, gen", "a tensor of shape"),
            ("return torch", "torch", "returns None"),
            ("1000 * seed + i", "1000 * i", "another seed gives the same"),
            ("torch.Generator().manual_seed", "torch.Generator.manual_seed", "raised TypeError"),
            ("images.append(", "images.append(2 * ", "one of your values?"),
            ("            images.append", "        images.append", "a tensor of shape"),
        ],
        [
            ("1000 * seed + i", "hash((seed, i)) % 2**32"),
            ("1000 * seed + i", "(seed << 16) ^ int(i)"),
            (
                "torch.randn(3, 32, 32, generator=generator)",
                "torch.empty(3, 32, 32).normal_(generator=generator)",
            ),
            (
                "generator = torch.Generator().manual_seed(1000 * seed + i)",
                "generator = torch.Generator()\n            "
                "generator.manual_seed(seed * 77777 + i)",
            ),
        ],
    ),
    "two_labels": (
        "denoise, xt, t, labels, null_label, share, guidance_scale",
        """
        first, second = labels
        x0_first, x0_second = denoise(xt, t, first), denoise(xt, t, second)
        without = denoise(xt, t, torch.full_like(first, null_label))
        between = (1 - share) * x0_first + share * x0_second
        return without + guidance_scale * (between - without)""",
        [
            (
                "(1 - share) * x0_first + share * x0_second",
                "share * x0_first + (1 - share) * x0_second",
                "share 0 is all the first",
            ),
            (
                "(1 - share) * x0_first + share * x0_second",
                "denoise(xt, t, (1 - share) * first + share * second)",
                "not the numbers",
            ),
            (
                "return without + guidance_scale * (between - without)",
                "return between",
                "is missing",
            ),
            ("return without +", "return between +", "scale 1 is no guidance"),
            (
                "between = (1 - share) * x0_first + share * x0_second",
                "between = x0_first + x0_second - without",
                "shares add up to 1",
            ),
            ("(between - without)", "(without - between)", "go from none"),
            (
                "without + guidance_scale * (between - without)",
                "between + guidance_scale * (without - between)",
                "go from none",
            ),
            ("(1 - share) * x0_first + share * x0_second", "x0_first", "one of the labels"),
            ("(1 - share) * x0_first + share * x0_second", "x0_second", "one of the labels"),
            ("(1 - share) * x0_first + share * x0_second", "(x0_first + x0_second) / 2", "?"),
            ("null_label)", "0)", "?"),
            ("return without", "without", "returns None"),
            ("denoise(xt, t, second)", "denoise(xt, t, first)", "one of the labels"),
            ("x0_first, x0_second =", "x0_second, x0_first =", "share 0 is all the first"),
        ],
        [
            (
                "(1 - share) * x0_first + share * x0_second",
                "torch.lerp(x0_first, x0_second, share)",
            ),
            ("first, second = labels", "first, second = labels[0], labels[1]"),
            (
                "without + guidance_scale * (between - without)",
                "torch.lerp(without, between, guidance_scale)",
            ),
            (
                "x0_first, x0_second = denoise(xt, t, first), denoise(xt, t, second)",
                "x0_first, x0_second = denoise(torch.cat([xt, xt]), t, labels.flatten()).chunk(2)",
            ),
        ],
    ),
    "connect": (
        "button, which, seed, picture, make",
        """
        def on_click(_):
            picture.value = make(which.value, seed.value)

        button.on_click(on_click)""",
        [
            ("make(which.value, seed.value)", "make(seed.value, which.value)", "the class first"),
            (
                "button.on_click(on_click)",
                "on_click(None)\n        button.on_click(on_click)",
                "before the first click",
            ),
            ("picture.value =", "picture =", "the handler must set"),
            ("picture.value = make", "return make", "the handler must set"),
            (
                "def on_click(_):\n            picture.value = make(which.value, seed.value)",
                "image = make(which.value, seed.value)\n\n        def on_click(_):\n"
                "            picture.value = image",
                "are read too early",
            ),
            (
                "def on_click(_):\n            picture.value = make(which.value, seed.value)",
                "chosen = which.value, seed.value\n\n        def on_click(_):\n"
                "            picture.value = make(*chosen)",
                "are read too early",
            ),
            (
                "button.on_click(on_click)",
                "button.on_click(on_click(None))",
                "give button.on_click a",
            ),
            ("button.on_click(on_click)", "on_click(None)", "give button.on_click a"),
            ("button.on_click(on_click)", "return on_click", "give button.on_click a"),
            ("on_click(_)", "on_click()", "takes 0 positional arguments"),
            ("make(which.value, seed.value)", "make(which, seed)", "raised TypeError"),
            ("make(which.value, seed.value)", "make(which.value, 0)", "?"),
            ("button.on_click(on_click)", "pass", "give button.on_click a"),
            ("make(which.value, seed.value)", "make", "infinite or nan?"),
        ],
        [
            ("on_click(_)", "on_click(*_)"),
            ("on_click(_)", "on_click(pressed)"),
            (
                "picture.value = make(which.value, seed.value)",
                "name, number = which.value, seed.value\n            "
                "picture.value = make(name, number)",
            ),
            (
                "button.on_click(on_click)",
                "button.on_click(lambda _: on_click(_))",
            ),
        ],
    ),
    "repaint": (
        "denoise, x0, noise, keep, times",
        """
        x = (1 - times[0]) * x0 + times[0] * noise
        for t, t_next in zip(times[:-1], times[1:]):
            x0_hat = denoise(x, t)
            noise_hat = (x - (1 - t) * x0_hat) / t
            x = (1 - t_next) * x0_hat + t_next * noise_hat
            known = (1 - t_next) * x0 + t_next * noise
            x = torch.where(keep, known, x)
        return x""",
        [
            ("x = (1 - times[0]) * x0 + times[0] * noise", "x = noise", "start from the picture"),
            ("x = (1 - times[0]) * x0 + times[0] * noise", "x = x0", "start from the picture"),
            ("torch.where(keep, known, x)", "torch.where(keep, x, known)", "`keep` is true where"),
            (
                "            x = torch.where(keep, known, x)\n        return x",
                "        return torch.where(keep, x0, x)",
                "at every step",
            ),
            ("            x = torch.where(keep, known, x)\n", "", "at every step"),
            ("(1 - t_next) * x0 + t_next * noise", "(1 - t) * x0 + t * noise", "those of t_next"),
            ("torch.where(keep, known, x)", "torch.where(keep, x0, x)", "the noise of their time"),
            ("return x", "x", "returns None"),
            ("        return x", "            return x", "?"),
            (
                "x = (1 - times[0]) * x0 + times[0] * noise",
                "x = (1 - times[1]) * x0 + times[1] * noise",
                "?",
            ),
            ("t_next * noise\n", "t_next * torch.randn_like(x0)\n", "?"),
            ("zip(times[:-1], times[1:])", "zip(times[:-2], times[1:-1])", "?"),
            ("torch.where(keep, known, x)", "keep * known", "?"),
            ("t_next * noise_hat", "t_next * noise", "?"),
        ],
        [
            ("(1 - times[0]) * x0 + times[0] * noise", "FLOW.mix(x0, noise, times[0])"),
            (
                "torch.where(keep, known, x)",
                "keep * known + ~keep * x",
            ),
            (
                "x = (1 - t_next) * x0_hat + t_next * noise_hat",
                "x = x + (t_next - t) * (noise_hat - x0_hat)",
            ),
            ("torch.where(keep, known, x)", "x.where(~keep, known)"),
        ],
    ),
}
